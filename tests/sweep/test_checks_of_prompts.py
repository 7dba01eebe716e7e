"""Tokenizers, chat templates and choices that cannot be scored are refused before any model is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from helpers.bad_checkpoints import delete, edit
from helpers.checkpoints import save_tokenizer
from helpers.prepared_sweeps import prepared, short_form
from mergekit_calib.errors import CalibError
from mergekit_calib.scoring import prompt_checks

PLAIN = "{% for message in messages %}w5 {{ message.content }} {% endfor %}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def pair(make_model, tmp_path) -> tuple[Path, Path]:
    """A base, and a copy of an aligned model that may be changed."""
    return make_model(seed=0), shutil.copytree(make_model(seed=1), tmp_path / "aligned")


def chat(task: str) -> dict[str, object]:
    return {"task": task, "apply_chat_template": True}


def refusal(*arguments, **keys) -> str:
    with pytest.raises(CalibError) as caught:
        prepared(*arguments, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ raise_exception('not today') }}", "not today"),
        ("{{ messages[0].name.first }}", "UndefinedError"),
        ("{{ 'a' * 10 ** 11 }}", "MemoryError"),
        ("{{ '' }}", "renders nothing"),
        (LOOP, "does not end within 1 s"),
    ],
)
def test_a_chat_template_that_does_not_render_is_refused(pair, task, tmp_path, monkeypatch, template, found):
    monkeypatch.setattr(prompt_checks, "_SECONDS", 1)
    edit("tokenizer_config.json", chat_template=template)(pair[1])
    message = refusal(short_form(*pair), task, tmp_path / "out", suite=[chat(task)])
    assert message.startswith("sweep.yml: calibration.suite[0].apply_chat_template: ")
    assert found in message


def test_a_chat_template_is_only_rendered_if_the_suite_applies_it(pair, task, tmp_path):
    edit("tokenizer_config.json", chat_template=LOOP)(pair[1])
    assert prepared(short_form(*pair), task, tmp_path / "out")


def test_a_chat_template_may_refuse_the_systems_message_which_is_then_left_out(pair, task, tmp_path):
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN
    edit("tokenizer_config.json", chat_template=refuses)(pair[1])
    suite = [{**chat(task), "system_instruction": "Answer."}]
    assert prepared(short_form(*pair), task, tmp_path / "out", suite=suite)


def test_a_template_is_checked_with_the_arguments_that_scoring_gives_it(pair, task, tmp_path):
    asks = "{% if not enable_thinking %}{{ raise_exception('think') }}{% endif %}" + PLAIN
    edit("tokenizer_config.json", chat_template=asks)(pair[1])
    keys = {"suite": [chat(task)], "model_args": {"enable_thinking": True, "think_end_token": "w7"}}
    assert prepared(short_form(*pair), task, tmp_path / "out", **keys)


def made_of(task: str, folder: Path, choices: list[str], doc: int) -> str:
    """Return a copy of a task, one of whose documents has other choices."""
    source = Path(task)
    rows = [json.loads(line) for line in source.with_suffix(".jsonl").read_text().splitlines()]
    rows[doc].update(choices=choices, answer=0)
    data = folder / "changed.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    changed = folder / "changed.yaml"
    changed.write_text(source.read_text().replace(str(source.with_suffix(".jsonl")), str(data)))
    return str(changed)


@pytest.mark.parametrize(("choice", "doc"), [(" ", 0), ("", 7), ("\t", 7)])
def test_a_choice_that_the_tokenizer_makes_no_tokens_of_is_refused(pair, task, tmp_path, choice, doc):
    changed = made_of(task, tmp_path, ["w5", choice], doc)
    message = refusal(short_form(*pair), changed, tmp_path / "out")
    assert f"document {doc}: the tokenizer makes no tokens of the choice {choice!r}" in message


def test_a_choice_that_joins_the_end_of_the_rendered_prompt_is_refused(pair, task, tmp_path):
    edit("tokenizer_config.json", chat_template="w5")(pair[1])
    changed = made_of(task, tmp_path, ["6", "7"], 0)
    yaml = Path(changed)
    yaml.write_text(yaml.read_text() + 'target_delimiter: ""\n')
    assert "no tokens of the choice '6'" in refusal(short_form(*pair), changed, tmp_path / "out", suite=[chat(changed)])


def test_points_have_the_bases_tokenizer_if_aligned_has_none_and_the_result_says_so(pair, task, tmp_path):
    delete("tokenizer.json", "tokenizer_config.json")(pair[1])
    ready = prepared(short_form(*pair), task, tmp_path / "out")
    assert ready.tokenizer.folder == pair[0]
    assert f"{pair[1]} has no tokenizer files" in ready.new_frontier().notes[0]


def test_a_recipe_that_makes_a_tokenizer_of_all_parents_needs_one_of_each(pair, task, tmp_path):
    delete("tokenizer.json", "tokenizer_config.json")(pair[1])
    message = refusal(short_form(*pair, tokenizer_source="union"), task, tmp_path / "out")
    assert message.startswith("sweep.yml: tokenizer_source: ")
    assert f"{pair[1]} has no tokenizer files" in message


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"tokenizer_source": "model:{aligned}"}, "tokenizer_source: mergekit makes no tokenizer with 'model:"),
        ({"tokenizer": {"source": "{aligned}/nowhere"}}, "tokenizer: mergekit makes no tokenizer with {'source'"),
        ({"chat_template": "nope"}, "chat_template: mergekit makes no tokenizer with 'nope'"),
    ],
)
def test_a_tokenizer_that_mergekit_cannot_make_is_refused(pair, task, tmp_path, keys, found):
    keys = json.loads(json.dumps(keys).replace("{aligned}", str(pair[1])))
    assert found in refusal(short_form(*pair, **keys), task, tmp_path / "out")


def test_a_model_may_have_more_tokens_than_embeddings(pair, task, tmp_path):
    save_tokenizer(pair[1], 640)
    assert prepared(short_form(*pair), task, tmp_path / "out")
