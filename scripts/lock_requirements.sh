#!/usr/bin/env bash
# Writes requirements.txt again: the images' packages, the newest that pyproject.toml allows, each with its hashes.
#
#   scripts/lock_requirements.sh             everything as new as it gets
#   scripts/lock_requirements.sh pillow      pillow alone; the others stay as they are
#
# Needs a Python with pip. Only packages with wheels for both kinds of machine are taken. They are for the images' own
# Python, 3.12 (3.11 has wheels of all of them, too; some are too new for 3.10, and numpy 1, for HailoRT, has none for 3.13).
# ./setup.sh serve takes what pyproject.toml allows, from 3.10 to 3.13.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv

upgrade=(--upgrade)
(($# == 0)) || upgrade=("${@/#/--upgrade-package=}")
for machine in x86_64 aarch64; do
  [[ ! -f requirements.txt ]] || cp requirements.txt "$work/$machine"
  "$work/venv/bin/uv" pip compile --quiet --no-config --python-version 3.12 \
    --python-platform "$machine-unknown-linux-gnu" --only-binary :all: --generate-hashes \
    --custom-compile-command scripts/lock_requirements.sh --extra cpu --extra hailo "${upgrade[@]}" \
    --output-file "$work/$machine" pyproject.toml
done
if ! diff "$work/x86_64" "$work/aarch64"; then
  echo "The two kinds of machine need different packages (above): requirements.txt stays as it was." >&2
  echo "Bound what differs in pyproject.toml, then run this again." >&2
  exit 1
fi
cp "$work/x86_64" requirements.txt
grep -oE '^[a-z][^ ]+' requirements.txt
