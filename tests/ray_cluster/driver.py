"""Run a sweep on a Ray cluster, as `mergekit-calib sweep --ray` does, with workers that do not wait long for a place.

python driver.py RECIPE OUT ADDRESS SECONDS
"""

from __future__ import annotations

import sys
from pathlib import Path

from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.sweep.remote.cluster_share import RaySettings

if __name__ == "__main__":
    recipe, out, address, seconds = sys.argv[1:]
    try:
        sys.exit(run_source(Path(recipe).read_text(), out, source=recipe, ray=RaySettings(address, float(seconds))))
    except CalibError as problem:
        sys.exit(str(problem))
