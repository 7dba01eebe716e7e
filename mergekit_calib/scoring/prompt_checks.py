"""Checks of a suite's prompts with the tokenizer of its models, before any model is loaded.

Chat templates are programs that come with a model. They are rendered in a child process with limits of time and memory.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from mergekit_calib.errors import RecipeError
from mergekit_calib.prefix_lm.silence import silence_lm_eval
from mergekit_calib.scoring.loading import LoadedEntry, Renderer, is_judged_by_choices, prompt_of
from mergekit_calib.scoring.suite import Suite

_SECONDS, _BYTES = 3, 1 << 30  # processor time and memory of the child; a template takes milliseconds
_LONGEST_WAIT = 120.0  # seconds, on a busy machine

Message = dict[str, str]


def check_prompts(
    suite: Suite,
    tokenizer: PreTrainedTokenizerBase,
    model_args: Mapping[str, Any],
    source: str | None = None,
) -> None:
    """Check that chat templates render the first prompt of each entry, and that blank and first choices are tokens.

    Args:
        suite: the suite, loaded.
        tokenizer: the tokenizer of the models that will be scored.
        model_args: lm-eval's `model_args`, some of which chat templates get.
        source: the recipe's file, for messages.

    Raises:
        CalibError: there is no such template, it fails, does not end or renders nothing; or a choice has no tokens.
    """
    suite.check_chat_template(tokenizer)
    for i, loaded in enumerate(suite.entries):
        key = f"calibration.suite[{i}]"
        first = [(task, 0, next(iter(task.doc_iterator(limit=1)))[1]) for task in loaded.tasks]
        renderer = None
        if loaded.entry.apply_chat_template:
            renderer = _renderer(loaded, tokenizer, model_args)
            _check_rendering(key, loaded, first[0], renderer, tokenizer, source)
        checked = [given for given in first if is_judged_by_choices(given[0])]
        for task, number, doc in (*checked, *loaded.with_blank_choices):
            _check_choices(key, loaded, task, number, doc, renderer, tokenizer, source)


def _renderer(loaded: LoadedEntry, tokenizer: PreTrainedTokenizerBase, model_args: Mapping[str, Any]) -> Renderer:
    """Return a function that renders a conversation as lm-eval's `hf` does."""
    name, templates = loaded.entry.apply_chat_template, tokenizer.chat_template
    template = templates[name if isinstance(name, str) else "default"] if isinstance(templates, dict) else templates
    arguments = dict(model_args.get("chat_template_args") or {})
    if model_args.get("enable_thinking") is not None:
        arguments["enable_thinking"] = model_args["enable_thinking"]

    def render(history: list[Message], add_generation_prompt: bool = True) -> str:
        def rendered(messages: list[Message]) -> str:
            text = tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                **{**arguments, "chat_template": template},
            )
            return str(text)

        try:
            return rendered(history)
        except TemplateError:  # `hf` tries it without the system's message
            return rendered([message for message in history if message["role"] != "system"])

    return render


def _check_rendering(
    key: str,
    loaded: LoadedEntry,
    first: tuple[Any, int, Any],
    renderer: Renderer,
    tokenizer: PreTrainedTokenizerBase,
    source: str | None,
) -> None:
    """Check that a chat template renders the first prompt of an entry."""
    asked: list[tuple[list[Message], bool]] = []

    def record(chat_history: list[Message], add_generation_prompt: bool = True) -> str:
        asked.append((chat_history, add_generation_prompt))
        return ""

    task, _, doc = first
    with silence_lm_eval(keep_progress_bars=True):
        prompt_of(task, doc, loaded.entry, record)
    problem = in_child(lambda: _problem_of(renderer, asked))
    if problem is not None:
        raise RecipeError(
            f"{key}.apply_chat_template",
            f"the chat template{_place_of(tokenizer)} {problem}; mend it, give another with `chat_template` in the "
            "recipe, or set apply_chat_template: false",
            source,
        )


def _place_of(tokenizer: PreTrainedTokenizerBase) -> str:
    folder = Path(str(tokenizer.name_or_path))
    names = ("chat_template.jinja", "tokenizer_config.json")
    file = next((folder / name for name in names if (folder / name).exists()), None)
    return f" in {file}" if file else ""


def _problem_of(renderer: Renderer, asked: Sequence[tuple[list[Message], bool]]) -> str | None:
    """Return what is wrong with a chat template; None if nothing is."""
    for history, add_generation_prompt in asked:
        try:
            text = renderer(history, add_generation_prompt)
        except Exception as problem:  # a template may do anything
            message = " ".join(str(problem).split())[:120]
            return f"does not render ({type(problem).__name__}: {message})"
        if not text.strip():
            return "renders nothing of a conversation"
    return None


def in_child(function: Callable[[], str | None]) -> str | None:
    """Return a function's result, computed in a child process with limits of processor time and memory.

    Where processes cannot fork (Windows), it runs in this process without limits.

    Args:
        function: computes the result; it must not use a GPU or threads of this process.

    Returns:
        The result, or what ended the child before it had one.
    """
    if "fork" not in multiprocessing.get_all_start_methods() or multiprocessing.current_process().daemon:
        return function()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_run_limited, args=(function, sender), daemon=True)
    with warnings.catch_warnings():  # of threads, none of which the child needs
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    sender.close()
    try:
        if not receiver.poll(_LONGEST_WAIT):
            return f"does not end within {_LONGEST_WAIT:g} s"
        result: str | None = receiver.recv()
    except EOFError:  # killed by a limit
        return f"does not end within {_SECONDS} s of processor time, or takes more than {_BYTES >> 30} GB of memory"
    else:
        return result
    finally:
        child.kill()
        child.join()
        receiver.close()


def _run_limited(function: Callable[[], str | None], sender: Connection) -> None:
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    with suppress(OSError, ValueError):  # not Linux
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + _BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        result = function()
    except MemoryError:
        return  # as if the limit had killed it
    sender.send(result)


def _check_choices(
    key: str,
    loaded: LoadedEntry,
    task: Any,
    number: int,
    doc: Any,
    renderer: Renderer | None,
    tokenizer: PreTrainedTokenizerBase,
    source: str | None,
) -> None:
    """Check that a document's choices are tokens after its prompt, with which lm-eval tokenises them together."""
    with silence_lm_eval(keep_progress_bars=True):
        context = prompt_of(task, doc, loaded.entry, renderer)
    if not isinstance(context, str):  # a task with several prompts and one continuation
        return
    # With a chat template, lm-eval leaves the delimiter out, except after some prefixes of the answer.
    delimiters = {str(task.config.target_delimiter), *([""] if renderer is not None else [])}
    n_context = len(tokenizer(context.rstrip())["input_ids"])
    for choice in map(str, task.doc_to_choice(doc)):
        if max(len(tokenizer(context + delimiter + choice)["input_ids"]) for delimiter in delimiters) <= n_context:
            problem = f"{task.task_name}, document {number}: the tokenizer makes no tokens of the choice {choice!r}"
            end = f"after a prompt that ends in {context[-20:]!r}"
            raise RecipeError(f"{key}.task", f"{problem} {end}; change doc_to_choice or target_delimiter", source)
