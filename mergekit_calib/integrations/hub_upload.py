"""Upload of a sweep's written model to the Hugging Face Hub, with its card, and without any path of this machine.

It relies on `HfApi` of huggingface_hub (tested: 2.4.0): `create_repo`, `repo_info`, `list_repo_files`, `create_commit`.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from mergekit_calib.errors import CalibError, near_names, shown
from mergekit_calib.report.card.front_matter import hub_names, licence_in
from mergekit_calib.report.card.model_card import model_card
from mergekit_calib.report.card.public_names import is_on_hub, local_paths, models_of, public_names, public_recipe
from mergekit_calib.report.report_files import has_chat_template
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.result_reader import load_sweep

_WEIGHTS = (".safetensors", ".safetensors.index.json")
_SUFFIXES = (".safetensors", ".json", ".model", ".jinja", ".txt")  # of weights, configs, tokenizer and chat template
_PICTURES = ("frontier.png", "lambda.png", "reliability.png")
_PATHS_IN_CONFIGS = ("_name_or_path", "name_or_path")  # keys in which transformers notes where it read a model


def push(out: str | Path, repo: str, private: bool = True, parent_names: Mapping[str, str] | None = None) -> str:
    """Upload the model in a finished sweep's folder, with its card, pictures and plain recipe, in one commit.

    The repository is made if it does not exist. Weights of an earlier upload that the model does not have are deleted.

    Args:
        out: the folder of a finished sweep.
        repo: the repository, as `org/name`.
        private: whether only its owner sees the repository. An existing public one is then refused.
        parent_names: role → the parent's name on the Hub, for each parent that the recipe names as a local folder.

    Returns:
        The address of the repository.

    Raises:
        CalibError: there is no model, a parent has no name on the Hub, a file would tell a path of this machine, or the
            Hub refuses.
    """
    out, given = Path(out), dict(parent_names or {})
    frontier = check_upload(out, repo, given)
    if not any(out.glob("*.safetensors")) or not (out / "config.json").exists():
        raise CalibError(f"{out} holds no model: there is no config.json with *.safetensors")
    _check_paths(_files(frontier, out, repo, given), frontier, out)
    api = huggingface_hub.HfApi()
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.repo_info(made.repo_id).private:
            raise CalibError(f"{made.repo_id} exists on the Hub and is public; --public uploads to it")
        files = _files(frontier, out, made.repo_id, given)  # the Hub adds the user's name to a bare one
        stale = [name for name in api.list_repo_files(made.repo_id) if name.endswith(_WEIGHTS) and name not in files]
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        operations += [CommitOperationDelete(name) for name in stale]  # type: ignore[misc]
        api.create_commit(made.repo_id, operations, commit_message=_message(frontier))
    except (OSError, ValueError, RuntimeError) as problem:  # of huggingface_hub and of the connection
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        login = "; log in with `hf auth login`, or set HF_TOKEN" if "401" in reason or "token" in reason.lower() else ""
        raise CalibError(f"the Hub did not take {repo}: {reason}{login}") from problem
    return str(made)


def parse_parent_names(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Return role → name on the Hub, from texts of the form `aligned=org/model`.

    Args:
        given: the texts.

    Raises:
        CalibError: a text has another form, or a role is named twice.
    """
    names: dict[str, str] = {}
    for text in given:
        role, equals, name = text.partition("=")
        if not (role and equals and name):
            raise CalibError(f"--parent-name {shown(text)}: write ROLE=NAME, as aligned=org/model")
        if role in names:
            raise CalibError(f"--parent-name: {role} is named twice")
        names[role] = name
    return names


def check_upload(out: Path, repo: str, parent_names: Mapping[str, str]) -> Frontier:
    """Return the sweep in a folder, after checking what needs neither the Hub nor the model.

    Args:
        out: the folder of a finished sweep.
        repo: the repository, as `org/name`.
        parent_names: role → the parent's name on the Hub.

    Raises:
        CalibError: the sweep is not finished, the repository's name cannot be one, or a parent has no name on the Hub.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as problem:
        raise CalibError(f"{shown(repo)} is no name of a repository, such as org/name: {problem}") from problem
    frontier = load_sweep(out)
    if not frontier.finished or frontier.selected is None:
        raise CalibError(f"{out}: the sweep is not finished, so it has chosen no model to upload")
    _check_parent_names(frontier, parent_names)
    return frontier


def _check_parent_names(frontier: Frontier, given: Mapping[str, str]) -> None:
    """Check that every model of the recipe has a name on the Hub, its own or a given one."""
    models = models_of(frontier)
    for role, name in given.items():
        if role not in models:
            raise CalibError(
                f"--parent-name {role}: no parent{near_names(role, models)}; there are {', '.join(models)}"
            )
        if hub_names([name]) != [name]:
            raise CalibError(f"--parent-name {role}={name}: {shown(name)} is no name on the Hub, such as org/model")
    nameless = {role: model for role, model in models.items() if role not in given and not is_on_hub(model)}
    if nameless:
        which = ", ".join(f"{role} ({model})" for role, model in nameless.items())
        options = " ".join(f"--parent-name {role}=org/model" for role in nameless)
        raise CalibError(
            f"card and recipe name the parents on the Hub, and these are local folders: {which}; {options}"
        )


def _files(frontier: Frontier, out: Path, repo: str, given: Mapping[str, str]) -> dict[str, bytes | str]:
    """Return name in the repository → its content, or the path of the file."""
    assert frontier.selected is not None
    names = public_names(models_of(frontier), given)
    files: dict[str, bytes | str] = {}
    for path in sorted(out.iterdir()):
        if path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith("."):
            files[path.name] = _without_its_path(path, repo) if path.suffix == ".json" else str(path)
    pictures = [name for name in _PICTURES if (out / "calibration" / name).is_file()]
    files |= {f"calibration/{name}": str(out / "calibration" / name) for name in pictures}
    files["mergekit_config.yml"] = public_recipe(frontier.selected.recipe, names).encode()
    card = model_card(
        frontier,
        pictures,
        licence_in(out / "README.md"),
        has_chat_template=has_chat_template(out),
        repository=repo,
        parent_names=given,
    )
    files["README.md"] = card.encode()
    return files


def _without_its_path(path: Path, repo: str) -> bytes | str:
    """Return a config with the repository's name where transformers has noted a path; the file, if there is none."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return str(path)
    noted = [key for key in _PATHS_IN_CONFIGS if isinstance(settings, dict) and key in settings]
    if not noted:
        return str(path)
    return json.dumps({**settings, **dict.fromkeys(noted, repo)}, indent=2, ensure_ascii=False).encode()


def _check_paths(files: Mapping[str, bytes | str], frontier: Frontier, out: Path) -> None:
    """Raise an error if what would be uploaded tells where something lies on this machine."""
    places = {os.path.abspath(out), os.path.expanduser("~"), os.getcwd(), *local_paths(models_of(frontier).values())}
    forbidden = [place.encode() for place in sorted(places, key=len, reverse=True) if place.count(os.sep) > 1]
    for name, content in files.items():
        for text in _texts(content):
            for place in forbidden:
                if place in text:
                    raise CalibError(
                        f"{name} would tell a path of this machine, {place.decode()}; nothing was uploaded"
                    )


def _texts(content: bytes | str) -> Iterator[bytes]:
    """Yield what a reader can see in a file: everything, but of weights the header alone."""
    if isinstance(content, bytes):
        yield content
    elif not content.endswith(".safetensors"):
        yield Path(content).read_bytes()
    else:
        with open(content, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            yield file.read(min(length, os.path.getsize(content)))


def _message(frontier: Frontier) -> str:
    assert frontier.selected is not None
    return f"{frontier.selected.name}, chosen by mergekit-calib"
