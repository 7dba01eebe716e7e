#!/usr/bin/env bash
# Install the project with Ray into a new virtual environment, and run the tests of this folder: sweeps on a Ray cluster of
# three nodes on this machine, whose GPUs are only said to be there.
#
#   PYTHON        the Python to use; python3.11 if unset
#   TORCH_INDEX   a package index to take torch from, such as PyTorch's own for CPU builds; pip's default if unset
#
# Arguments are passed on to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3.11}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "torch==2.13.0" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
"$scratch/venv/bin/pip" install --quiet ".[ray]" pytest pytest-xdist
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
"$scratch/venv/bin/pytest" -n 0 --durations=0 tests/ray_cluster "$@"
