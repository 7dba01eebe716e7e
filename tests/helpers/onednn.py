"""The mark of tests that need a torch with oneDNN."""

from __future__ import annotations

import os

import pytest
import torch

# In CI they run in any case: the torch that is installed there has oneDNN, and one without it should fail.
NEEDS_ONEDNN = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() and "CI" not in os.environ, reason="this torch has no oneDNN"
)
