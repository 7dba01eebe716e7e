"""The card is valid on the Hub, names models that are there, and says how to rebuild with plain mergekit."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from helpers.report_factory import make_frontier
from mergekit_calib.report.card.front_matter import hub_names
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.report_files import write_report
from mergekit_calib.report.tables.markdown import escape_markdown, frontier_markdown
from mergekit_calib.report.text.answer import answer_lines


def front_matter(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_the_hub_can_read_the_front_matter() -> None:
    text = model_card(make_frontier())
    matter = front_matter(text)
    del matter["model-index"]
    assert matter == {
        "base_model": ["org/some-model-pt", "org/some-model-it"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["mergekit", "merge", "calibration"],
    }
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    assert data.base_model == ["org/some-model-pt", "org/some-model-it"]
    assert data.library_name == "transformers"


def test_the_model_index_has_the_estimates_of_the_held_out_split() -> None:
    frontier = make_frontier()
    assert frontier.selected is not None
    data = ModelCard(model_card(frontier)).data
    assert data.model_name == "demo-run"
    results = {result.metric_name: result for result in data.eval_results}
    assert set(results) == {"acc", "ece", "brier", "rms_ce_debiased"}
    for metric, result in results.items():
        estimate = frontier.selected.metrics["calib_demo"][metric]["held_out"]
        assert result.metric_value == pytest.approx(estimate.value, abs=1e-6)
        assert result.metric_args["n"] == estimate.n
        assert result.metric_args["low"] == pytest.approx(estimate.low, abs=1e-6)
        assert (result.task_type, result.dataset_name) == ("text-generation", "calib_demo")
        assert result.dataset_args["items"] == "held-out split"
    assert results["acc"].metric_type == "accuracy"
    assert results["ece"].metric_args["n_bins"] == 15
    assert ModelCardData(eval_results=list(results.values()), model_name="x").to_dict()["model-index"]


def test_the_licence_is_left_open_and_the_parents_are_named(tmp_path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text("---\nlicense: gemma\n---\nA model.\n")
    text = model_card(make_frontier(models={"base": str(tmp_path / "base"), "aligned": "org/some-model-it"}))
    assert "license" not in front_matter(text)
    first = text.splitlines()[1]
    assert first.startswith("# license: to be set")
    assert "base (gemma) and org/some-model-it apply" in first
    assert "base: gemma" in text


def test_a_licence_that_was_set_is_kept_when_the_card_is_written_again(tmp_path) -> None:
    write_report(make_frontier(), tmp_path)
    card = tmp_path / "README.md"
    card.write_text(card.read_text().replace("---\n# license", "---\nlicense: mit\n# license", 1))
    write_report(make_frontier(), tmp_path)
    assert front_matter(card.read_text())["license"] == "mit"
    assert "to be set" not in card.read_text()


def test_a_name_with_a_line_break_stays_within_the_comment_of_the_front_matter() -> None:
    frontier = make_frontier(models={"base": "x\nlicense: mit", "aligned": "org/some-model-it"})
    assert "license" not in front_matter(model_card(frontier))


def test_local_paths_are_not_named_as_base_models() -> None:
    frontier = make_frontier(models={"base": "/home/me/base", "aligned": "./out/aligned"})
    for point in frontier.points:
        point.recipe = "merge_method: linear\nmodels: [{model: /home/me/base}, {model: ./out/aligned}]\n"
    matter = front_matter(model_card(frontier))
    del matter["model-index"]
    assert matter == {
        "library_name": "transformers",
        "tags": ["mergekit", "merge", "calibration"],
    }


def test_hub_names_are_distinguished_from_paths(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    given = [
        "gpt2", "google/gemma-3-4b-pt", "org/model@v1.0+org/adapter@main", "models/mine", "../up", "~/home", "C:\\m",
        "a/b/c", "org/x--y", "org/model", "<b>/x",
    ]  # fmt: skip
    assert hub_names(given) == ["gpt2", "google/gemma-3-4b-pt", "org/model", "org/adapter"]


def test_the_card_gives_answer_table_picture_and_choice() -> None:
    frontier = make_frontier()
    text = model_card(frontier)
    first_paragraph = text.split("# demo-run\n\n")[1].split("\n\n")[0]
    assert first_paragraph.split("  \n") == [escape_markdown(line) for line in answer_lines(frontier)]
    assert frontier_markdown(frontier) in text
    assert "largest sum of gains on the selection split." in text
    assert "ece (n = 600), in 15 bins" in text
    assert "a limit was set" in text


def test_the_card_holds_the_plain_recipe_and_the_command_that_rebuilds_it() -> None:
    frontier = make_frontier()
    text = model_card(frontier)
    recipe = text.split("```yaml\n")[1].split("```")[0]
    assert frontier.selected is not None
    assert recipe == frontier.selected.recipe
    assert "mergekit-yaml mergekit_config.yml OUT --random-seed 7\n" in text
    assert "--lora-merge-cache" not in text


def test_an_adapter_in_the_recipe_needs_a_cache_to_rebuild() -> None:
    frontier = make_frontier(models={"base": "org/base", "aligned": "org/base+org/adapter"})
    for point in frontier.points:
        point.recipe = "merge_method: linear\nmodels: [{model: org/base}, {model: org/base+org/adapter}]\n"
    text = model_card(frontier)
    assert "--random-seed 7 --lora-merge-cache lora_cache" in text
    assert front_matter(text)["base_model"] == ["org/base", "org/adapter"]


def test_names_are_escaped_in_the_card() -> None:
    frontier = make_frontier(
        name="<script>alert(1)</script>",
        models={"base": "org/`a`|b", "aligned": "![x](http://evil)"},
        notes=["<img src=x onerror=alert(1)>"],
    )
    assert frontier.selected is not None
    frontier.selected.recipe = "merge_method: linear\n# ```\n# <b>\nmodels: [{model: org/x}]\n"
    text = model_card(frontier)
    fence = text.split("# ```")[0].rsplit("\n````yaml\n", 1)
    assert len(fence) == 2, "the fence must outlast the backticks within"
    outside = fence[0].split("\n---\n", 1)[1] + text.split("\n````\n")[-1]
    assert "<script" not in outside
    assert "<img" not in outside
    assert "![x]" not in outside


def test_only_pictures_that_exist_are_linked() -> None:
    text = model_card(make_frontier(objectives=("acc",)), ["lambda.png"])
    assert "calibration/lambda.png" in text
    assert "calibration/frontier.png" not in text


def test_there_is_no_card_before_a_point_is_chosen() -> None:
    with pytest.raises(ValueError, match="no point is chosen"):
        model_card(make_frontier(select=None))


@pytest.mark.parametrize(("chosen", "model"), [("lambda=0", "org/some-model-pt"), ("lambda=1", "org/some-model-it")])
def test_a_parent_that_is_chosen_is_nowhere_called_a_merge(chosen: str, model: str) -> None:
    text = model_card(make_frontier(select=chosen))
    matter = front_matter(text)
    assert matter["base_model"] == [model]
    assert "base_model_relation" not in matter
    assert "merge" not in matter["tags"]
    assert "not a merge" in text
    assert "A merge of" not in text
    assert "Ship " not in text


def test_a_point_with_the_weights_of_a_parent_is_not_called_a_merge_either() -> None:
    frontier = make_frontier(select="lambda=0.6")
    frontier.point("lambda=0.6").same_as = "lambda=1"
    text = model_card(frontier)
    assert front_matter(text)["base_model"] == ["org/some-model-it"]
    assert "The weights of the aligned model, not a merge" in text


@pytest.mark.parametrize("roles", [("base",), ("math", "code"), tuple(f"model-{i}" for i in range(8))])
def test_a_card_names_one_to_eight_parents_as_base_models(roles: tuple[str, ...]) -> None:
    frontier = make_frontier({"weight": [0.2, 0.4]}, roles=roles, select="weight=0.2")
    for point in frontier.points:
        point.recipe = "merge_method: linear\nmodels: []\n"
    text = model_card(frontier)
    matter = front_matter(text)
    assert matter["base_model"] == list(frontier.models.values())
    assert matter["base_model_relation"] == "merge"
    assert isinstance(ModelCard(text).data, ModelCardData)
    assert all(f"{role}: {model}" in text for role, model in frontier.models.items())
    assert all(f"Against {role}" in text for role in roles)


def test_a_card_says_what_changes_for_users() -> None:
    frontier = make_frontier(select="lambda=0.6")
    changes = frontier.point("lambda=0.6").changes["aligned"]
    text = model_card(frontier)
    assert f"For users of aligned, {100 * changes.differ.value:.1f} %" in text
    assert f"{100 * changes.wrong_to_correct.value:.1f} % [" in text
    assert f"mean KL {changes.kl.value:.3f} nats" in text
    assert "not that quality is kept" in text


def test_local_paths_are_reduced_to_names_in_the_whole_card(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    models = {"base": str(tmp_path / "runs" / "model"), "aligned": "./tuned/model"}
    frontier = make_frontier(models=models, notes=[f"The config of {tmp_path}/runs/model is taken."])
    for point in frontier.points:
        point.recipe = yaml.safe_dump({"merge_method": "linear", "models": [{"model": m} for m in models.values()]})
    text = model_card(frontier)
    assert str(tmp_path) not in text
    assert "./tuned" not in text
    assert "base: model; aligned: aligned-model" in text
    recipe = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert recipe["models"] == [{"model": "model"}, {"model": "aligned-model"}]
    assert "their paths in `mergekit_config.yml`" in text
    assert "base_model" not in front_matter(text)
    assert "The config of model is taken." in text


def test_names_that_are_given_for_local_parents_are_the_base_models() -> None:
    frontier = make_frontier(models={"base": "base", "aligned": "/x/tuned"})
    for point in frontier.points:
        point.recipe = "merge_method: linear\nmodels: [{model: base}, {model: /x/tuned}]\n"
    names = {"base": "org/pt", "aligned": "org/it"}
    text = model_card(frontier, repository="me/merged", parent_names=names)
    assert front_matter(text)["base_model"] == ["org/pt", "org/it"]
    assert "base: org/pt; aligned: org/it" in text
    assert "/x/tuned" not in text


def test_the_card_shows_how_to_use_the_model() -> None:
    frontier = make_frontier()
    plain, chat = model_card(frontier), model_card(frontier, has_chat_template=True, repository="me/merged")
    assert 'pipeline("text-generation", model="demo-run")' in plain
    assert "role" not in plain.split("```python")[1].split("```")[0]
    assert 'pipeline("text-generation", model="me/merged")' in chat
    assert '[{"role": "user"' in chat.split("```python")[1].split("```")[0]
    assert "vllm serve me/merged" in chat
    for card in (plain, chat):
        compile(card.split("```python\n")[1].split("```")[0], "card", "exec")
