#!/usr/bin/env bash
# Test and measure on a GPU, without a network, in ten minutes:
#   tests/gpu/run.sh WHEELS [TABLE.md]
# WHEELS is a folder that tests/gpu/collect_wheels.sh filled. PYTHON (default python3) must have a CUDA build of torch.
# MERGEKIT_CALIB_GPU_KIT_DEVICE=cpu rehearses every line on a machine without a GPU.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
wheels=$(cd "$1" && pwd)
table=${2:-gpu-table.md}
device=${MERGEKIT_CALIB_GPU_KIT_DEVICE:-cuda:0}
python=$(command -v "${PYTHON:-python3}")
packages=$(mktemp -d)

# torch is the machine's own, in whatever environment it is; everything else comes from the folder.
"$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" --target "$packages" \
  --requirement "$wheels/requirements.txt"
export PYTHONPATH=$checkout:$packages HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false MERGEKIT_CALIB_GPU_KIT_DEVICE=$device
cd "$checkout"
"$python" -c 'import torch; print("torch", torch.__version__, "with", torch.cuda.device_count(), "GPUs")'
if [ "$device" = cpu ]; then set -- --sizes tiny --questions 8 --examples 2; else set -- --sizes 1B 8B; fi

failed=0
timeout 240 "$python" -m pytest -q -o addopts= -ra --import-mode=importlib -m gpu tests/gpu || failed=$?
timeout 330 "$python" tests/gpu/speed_table.py --device "$device" --out "$table" "$@" || failed=$?
echo "the table: $table"
exit "$failed"
