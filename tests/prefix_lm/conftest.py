"""Small models of every architecture, and the fixtures of `helpers.scoring_fixtures` that they need."""

from __future__ import annotations

import pytest
import torch
import transformers

from helpers import scoring_fixtures
from helpers.small_models import PACKED, PLAIN

tokenizer, write_task = scoring_fixtures.tokenizer, scoring_fixtures.write_task


@pytest.fixture(scope="session")
def models(tokenizer: transformers.PreTrainedTokenizerFast) -> dict[str, transformers.PreTrainedModel]:
    """A model of each architecture, in evaluation mode; a test that changes one must change it back."""
    torch.manual_seed(11)
    return {name: make(len(tokenizer)).eval() for name, make in {**PACKED, **PLAIN}.items()}
