#!/usr/bin/env bash
# Collect the wheels that tests/gpu/run.sh installs, on a machine with a network:
#   tests/gpu/collect_wheels.sh WHEELS [PYTHON_VERSION]
# PYTHON (default python3) must have mergekit-calib installed: its versions are collected, without torch. PYTHON_VERSION
# is that of the machine with the GPU, such as 3.12; by default PYTHON's own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
wheels=$1
version=${2:-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
mkdir -p "$wheels"
"$python" "$here/requirements.py" > "$wheels/requirements.txt"

collect() { # a wheel for that Python, or one made here of a package that has only its source
  "$1" -m pip download --quiet --no-deps --dest "$3" --only-binary=:all: --python-version "$2" \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --platform any "$4" 2> /dev/null ||
    "$1" -m pip wheel --quiet --no-deps --wheel-dir "$3" "$4"
}
export -f collect
xargs -P 4 -I {} bash -c 'collect "$@"' _ "$python" "$version" "$wheels" {} < "$wheels/requirements.txt"
echo "$(ls "$wheels"/*.whl | wc -l) wheels of $(wc -l < "$wheels/requirements.txt") packages for Python $version in $wheels"
