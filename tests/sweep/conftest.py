"""The fixtures of `helpers.scoring_fixtures` that tests of a sweep's cost use."""

from helpers.scoring_fixtures import load_suite, model, tokenizer, write_task

__all__ = ["load_suite", "model", "tokenizer", "write_task"]
