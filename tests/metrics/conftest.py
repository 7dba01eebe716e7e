"""Lets the test modules here import `metric_cases`, and keeps property tests from failing on a busy machine."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# pytest's importlib mode puts no test folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
