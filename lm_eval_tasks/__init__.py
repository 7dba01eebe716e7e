"""lm-eval tasks that measure calibration: YAML, and the thin functions that it names. Also for `--include_path`."""

from pathlib import Path

TASKS_DIR = Path(__file__).parent
