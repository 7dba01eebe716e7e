"""Broken checkpoints of every kind: each is refused in a line that names the file, before any weights are loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from mergekit.options import MergeOptions

from helpers.bad_checkpoints import (
    Damage,
    Payload,
    adapter_only,
    bare_pickle,
    both,
    cut,
    dangling,
    delete,
    edit,
    header,
    in_place_of_folder,
    index,
    overlap,
    pickled,
    shards,
    tensors,
    write,
)
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.sweep import preflight
from mergekit_calib.sweep.preflight import prepare

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG, GENERATION = "tokenizer.json", "tokenizer_config.json", "generation_config.json"
PICKLE = "pytorch_model.bin"


def quantised(**settings: object) -> Damage:
    return edit(CONFIG, quantization_config=settings)


def moved(name: str, to: str) -> Damage:
    return lambda folder: shutil.move(folder / name, folder / to)


def folder_in_place_of(name: str) -> Damage:
    return both(delete(name), lambda folder: (folder / name).mkdir())


def stored_as(dtype: torch.dtype) -> Damage:
    return tensors(lambda by_name: by_name.update({name: t.to(dtype) for name, t in by_name.items()}))


def retensored(name: str, *shape: int) -> Damage:
    return tensors(lambda by_name: by_name.update({name: torch.ones(shape, dtype=torch.bfloat16)}))


def removed(name: str) -> Damage:
    return tensors(lambda by_name: by_name.pop(name))


def places(**changed: object) -> Damage:
    return index(lambda content: content["weight_map"].update({"model.norm.weight": changed["norm"]}))


# What is broken → the damage, and what the message has beside the folder: the file, and what was found in it.
CHECKPOINTS: dict[str, tuple[Damage, str, str]] = {
    # the config
    "config missing": (delete(CONFIG), CONFIG, "missing"),
    "config empty": (write(CONFIG, ""), CONFIG, "empty"),
    "config no text": (write(CONFIG, b"\xff\xfe{"), CONFIG, "not valid JSON"),
    "config a list": (write(CONFIG, "[1]"), CONFIG, "holds a list"),
    "config nested 100,000 deep": (write(CONFIG, "[" * 100_000), CONFIG, "recursion"),
    "config a folder": (folder_in_place_of(CONFIG), CONFIG, "directory"),
    "config a dangling link": (dangling(CONFIG), CONFIG, "missing"),
    "model_type unknown": (edit(CONFIG, model_type="lama"), CONFIG, "`lama`"),
    "model_type missing": (edit(CONFIG, model_type=None), CONFIG, "model_type is missing"),
    "model_type a list": (edit(CONFIG, model_type=["llama"]), CONFIG, "['llama']"),
    "architectures missing": (edit(CONFIG, architectures=None), CONFIG, "architectures is None"),
    "architectures empty": (edit(CONFIG, architectures=[]), CONFIG, "architectures is []"),
    "architectures a number": (edit(CONFIG, architectures=7), CONFIG, "architectures is 7"),
    "ten million layers": (edit(CONFIG, num_hidden_layers=10_000_000), CONFIG, "num_hidden_layers is 10000000"),
    "no layers": (edit(CONFIG, num_hidden_layers=0), CONFIG, "num_hidden_layers is 0"),
    "more layers than stored": (edit(CONFIG, num_hidden_layers=5), CONFIG, "have 4 layers"),
    "fewer layers than the other": (edit(CONFIG, num_hidden_layers=3), CONFIG, "has 3 layers"),
    "layers no number": (edit(CONFIG, num_hidden_layers="four"), CONFIG, "num_hidden_layers"),
    "size no number": (edit(CONFIG, hidden_size="x"), CONFIG, "hidden_size"),
    "size of another model": (edit(CONFIG, hidden_size=64), CONFIG, "[64, 32] in the weights"),
    "size beyond all memory": (edit(CONFIG, hidden_size=32 * 10**9), CONFIG, "[64, 32] in the weights"),
    "no attention heads": (edit(CONFIG, num_attention_heads=0), CONFIG, "zero"),
    "vocabulary smaller than embeddings": (edit(CONFIG, vocab_size=32), CONFIG, "model.embed_tokens.weight"),
    "vocabulary larger than embeddings": (edit(CONFIG, vocab_size=128), CONFIG, "model.embed_tokens.weight"),
    "activation unknown": (edit(CONFIG, hidden_act="nope"), CONFIG, "'nope'"),
    "dtype of config unknown": (edit(CONFIG, dtype="float7"), CONFIG, "float7"),
    "head missing": (removed("lm_head.weight"), CONFIG, "no lm_head.weight"),
    "head tied in one parent": (
        both(removed("lm_head.weight"), edit(CONFIG, tie_word_embeddings=True)),
        CONFIG,
        "tie_word_embeddings is true",
    ),
    "code of its own": (
        both(edit(CONFIG, model_type="own", auto_map={"AutoConfig": "own.C"}), write("own.py", "open('ran', 'w')")),
        CONFIG,
        "--trust-remote-code",
    ),
    # quantised weights
    "FP8": (quantised(quant_method="fp8"), CONFIG, "FineGrainedFP8Config"),
    "bitsandbytes": (quantised(load_in_4bit=True), CONFIG, "dequantize()"),
    "GPTQ": (quantised(quant_method="gptq", bits=4), CONFIG, "full weights"),
    "AWQ": (quantised(quant_method="awq", bits=4), CONFIG, "full weights"),
    "compressed-tensors": (quantised(quant_method="compressed-tensors"), CONFIG, "CompressedTensorsConfig"),
    "MXFP4": (quantised(quant_method="mxfp4"), CONFIG, "Mxfp4Config"),
    "quantisation a list": (edit(CONFIG, quantization_config=[1]), CONFIG, "quantised"),
    "FP8 without a word in the config": (stored_as(torch.float8_e4m3fn), "", "F8_E4M3"),
    "integers without a word in the config": (stored_as(torch.int8), "", "I8"),
    # the weights
    "weights missing": (delete(WEIGHTS), WEIGHTS, "no weights"),
    "weights in another format": (moved(WEIGHTS, "model.gguf"), "model.gguf", "no weights"),
    "weights under another name": (moved(WEIGHTS, "weights.safetensors"), "weights.safetensors", "no weights"),
    "weights a dangling link": (dangling(WEIGHTS), WEIGHTS, "link"),
    "weights a folder": (folder_in_place_of(WEIGHTS), WEIGHTS, "no file"),
    "weights empty": (write(WEIGHTS, b""), WEIGHTS, "header too small"),
    "weights garbage": (write(WEIGHTS, b"x" * 1000), WEIGHTS, "header too large"),
    "header longer than the file": (write(WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"), WEIGHTS, "too large"),
    "header no JSON": (write(WEIGHTS, (4).to_bytes(8, "little") + b"}{}{"), WEIGHTS, "JSON"),
    "dtype unknown": (header(lambda h: h["model.norm.weight"].update(dtype="F7")), WEIGHTS, "F7"),
    "shape against offsets": (header(lambda h: h["model.norm.weight"].update(shape=[33])), WEIGHTS, "shape"),
    "offsets overlap": (header(overlap), WEIGHTS, "offset"),
    "weights cut off": (cut(WEIGHTS, 10), WEIGHTS, "not fully covered"),
    "second shard cut off": (both(shards, cut("two.safetensors", 10)), "two.safetensors", "not fully covered"),
    "second shard missing": (both(shards, delete("two.safetensors")), "two.safetensors", "missing"),
    "second shard a dangling link": (both(shards, dangling("two.safetensors")), "two.safetensors", "missing"),
    "tensor missing": (removed("model.norm.weight"), "", "no tensor model.norm.weight"),
    "no tensors": (tensors(dict.clear), "", "no tensor"),
    "tensor of another shape": (retensored("model.norm.weight", 16), CONFIG, "[16] in the weights"),
    # their index
    "index no JSON": (both(shards, write(INDEX, "{")), INDEX, "not valid JSON"),
    "index without a map": (index(lambda content: content.pop("weight_map")), INDEX, "weight_map"),
    "index a list": (index(lambda content: content.update(weight_map=["a"])), INDEX, "weight_map"),
    "index names no file": (places(norm=7), INDEX, "weight_map"),
    "index leads out of the folder": (places(norm="../other/model.safetensors"), INDEX, "outside"),
    "index names an absolute path": (places(norm="/etc/passwd"), INDEX, "outside"),
    "index names the wrong shard": (places(norm="one.safetensors"), "one.safetensors", "no tensor model.norm.weight"),
    # pickles
    "pickle": (pickled(PICKLE), PICKLE, "convert it to safetensors"),
    "pickle of old": (bare_pickle, PICKLE, "convert it to safetensors"),
    "pickle shard": (
        both(pickled("shard.bin"), write(f"{PICKLE}.index.json", '{"weight_map": {"a": "shard.bin"}}')),
        "shard.bin",
        "convert it to safetensors",
    ),
    # the folder
    "folder a file": (in_place_of_folder, "", "is no folder"),
    "nothing but a LoRA": (adapter_only, "", "org/m+"),
    # the tokenizer, which is that of this parent
    "tokenizer empty": (write(TOKENIZER, ""), TOKENIZER, "empty"),
    "tokenizer no JSON": (write(TOKENIZER, "{"), TOKENIZER, "not valid JSON"),
    "tokenizer a folder": (folder_in_place_of(TOKENIZER), TOKENIZER, "directory"),
    "tokenizer config no JSON": (write(TOKENIZER_CONFIG, "{"), TOKENIZER_CONFIG, "not valid JSON"),
    "tokenizer config a list": (write(TOKENIZER_CONFIG, "[]"), TOKENIZER_CONFIG, "holds a list"),
    "tokenizer config alone": (delete(TOKENIZER), "", "no tokenizer.json"),
    "tokenizer class a number": (edit(TOKENIZER_CONFIG, tokenizer_class=7), "", "tokenizer"),
    "special token a number": (edit(TOKENIZER_CONFIG, bos_token=7), "", "bos_token"),
    "longest input no number": (edit(TOKENIZER_CONFIG, model_max_length="x"), TOKENIZER_CONFIG, "model_max_length"),
    "no special tokens": (
        edit(TOKENIZER_CONFIG, bos_token=None, eos_token=None, pad_token=None),
        TOKENIZER_CONFIG,
        "eos_token",
    ),
    "tokenizer with code of its own": (
        both(
            edit(TOKENIZER_CONFIG, tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.T", None]}),
            write("own.py", "open('ran', 'w')"),
        ),
        "",
        "--trust-remote-code",
    ),
    "generation config no JSON": (write(GENERATION, "{"), GENERATION, "delete it"),
    "generation config a list": (write(GENERATION, "[]"), GENERATION, "delete it"),
    "generation config with wrong values": (edit(GENERATION, max_new_tokens=-1), GENERATION, "max_new_tokens"),
}


def lora(
    settings: str | None = '{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}', **files: bytes
) -> Damage:
    """Return a damage that adds a folder `lora` with an adapter's config and other files."""

    def damage(folder: Path) -> None:
        (folder / "lora").mkdir()
        if settings is not None:
            (folder / "lora" / "adapter_config.json").write_text(settings)
        for name, content in files.items():
            (folder / "lora" / name.replace("__", ".")).write_bytes(content)

    return damage


def pickled_lora(folder: Path) -> None:
    lora()(folder)
    torch.save({"a": Payload()}, folder / "lora" / "adapter_model.bin")


ADAPTERS: dict[str, tuple[Damage, str, str]] = {
    "missing": (lambda folder: None, "lora", "does not exist"),
    "without a config": (lora(None), "lora", "no adapter_config.json"),
    "config no JSON": (lora("{"), "adapter_config.json", "not valid JSON"),
    "kind unknown": (lora('{"peft_type": "NOPE"}'), "adapter_config.json", "NOPE"),
    "without weights": (lora(), "adapter_model.safetensors", "missing"),
    "weights empty": (lora(adapter_model__safetensors=b""), "adapter_model.safetensors", "header too small"),
    "pickle": (pickled_lora, "adapter_model.bin", "pickle"),
}


# Opens a model as a user that owns nothing: root may read everything.
OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from mergekit.options import MergeOptions
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.parents import open_parents
from mergekit_calib.merging.tokenizer import load_tokenizer
def read():
    open_parents([sys.argv[1]], MergeOptions(quiet=True))
    load_tokenizer(Path(sys.argv[1]), MergeOptions(quiet=True))
if os.geteuid() == 0:
    read()  # imports all that reading needs: the other user may not be let into the environment
    os.seteuid(65534)
try:
    read()
except CalibError as problem:
    print(problem)
"""


@pytest.fixture
def copied(make_model, tmp_path, monkeypatch) -> Path:
    """A copy of a checkpoint, to be damaged; the current folder is where code that runs would leave a file."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(make_model(seed=1), tmp_path / "aligned")


@pytest.fixture
def refusal(make_model, monkeypatch, tmp_path):
    """Return the message with which a sweep of a base and a broken model is refused before tasks are loaded."""
    monkeypatch.setattr(preflight.Suite, "load", lambda *_, **__: pytest.fail("tasks were loaded"))
    register()

    def message(model: str) -> str:
        recipe = {
            "merge_method": "calibration_sweep",
            "base_model": str(make_model(seed=0)),
            "models": [{"model": model}],
            "dtype": "bfloat16",
            "calibration": {"axes": {"lambda": [0.5]}, "suite": ["any"]},
        }
        sweep = parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml")
        with pytest.raises(CalibError) as caught:
            prepare(sweep, tmp_path / "out", MergeOptions(quiet=True))
        assert not (tmp_path / "ran").exists(), "code of the checkpoint ran"
        text = str(caught.value)
        assert "\n" not in text
        assert len(text) < 500
        return text

    return message


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_broken_checkpoint_is_refused_with_its_file_and_what_was_found(copied, refusal, kind):
    damage, file, found = CHECKPOINTS[kind]
    damage(copied)
    message = refusal(str(copied))
    assert str(copied) in message
    assert file in message
    assert found in message


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_broken_lora_is_refused_with_its_file_and_what_was_found(copied, refusal, kind):
    damage, file, found = ADAPTERS[kind]
    damage(copied)
    message = refusal(f"{copied}+{copied / 'lora'}")
    assert file in message
    assert found in message


@pytest.mark.parametrize("name", ["tuned@1", "tuned+1", "tuned@1@2"])
def test_a_folder_whose_name_mergekit_reads_as_something_else_is_refused(copied, refusal, name):
    message = refusal(str(copied.rename(copied.with_name(name))))
    assert name in message
    assert "rename the folder" in message


def test_a_pickle_that_may_be_read_is_refused_if_it_holds_more_than_tensors(copied, make_model, tmp_path):
    from mergekit_calib.merging.parents import open_parents

    pickled(PICKLE)(copied)
    with pytest.raises(CalibError, match=f"{PICKLE} holds more than tensors") as caught:
        open_parents([str(copied)], MergeOptions(lazy_unpickle=True))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", [".", CONFIG, WEIGHTS, TOKENIZER])
def test_a_file_that_may_not_be_read_is_named(make_model, file):
    with tempfile.TemporaryDirectory() as above:  # pytest's folders let in their owner alone
        folder = shutil.copytree(make_model(seed=1), Path(above) / "aligned")
        for each in (Path(above), folder, *folder.iterdir()):
            each.chmod(0o755)
        (folder / file).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AS_NOBODY, folder], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert str(Path("aligned") / file) in done.stdout
    assert "ermission denied" in done.stdout
    assert done.stdout.count("\n") == 1


def test_an_index_may_name_tensors_that_no_merge_reads(copied, make_model):
    from mergekit_calib.merging.parents import open_parents

    index(lambda content: content["weight_map"].update(ghost="one.safetensors"))(copied)
    assert "ghost" not in open_parents([str(copied)], MergeOptions())[str(copied)].shapes


def test_masks_that_outnumber_the_weights_are_no_quantised_weights(copied):
    from mergekit_calib.merging.parents import open_parents

    masks = {"model.layers.0.self_attn.bias": torch.ones(2000, 2000, dtype=torch.bool)}
    tensors(lambda by_name: by_name.update(masks))(copied)
    assert open_parents([str(copied)], MergeOptions())[str(copied)].dtype == torch.bfloat16
