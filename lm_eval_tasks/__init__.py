"""lm-eval tasks that report calibration or diversity: YAML, and the functions and classes that it names."""

from pathlib import Path

TASKS_DIR = Path(__file__).parent
"""The folder for `--include_path`, which only lm-eval without the plugin's hooks needs."""
