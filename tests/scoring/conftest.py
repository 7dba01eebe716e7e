"""The fixtures of `helpers.scoring_fixtures`, under their own names."""

from helpers.scoring_fixtures import function, hub_data, lm, load_suite, model, tokenizer, write_task

__all__ = ["function", "hub_data", "lm", "load_suite", "model", "tokenizer", "write_task"]
