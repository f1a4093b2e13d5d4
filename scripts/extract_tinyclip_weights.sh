#!/usr/bin/env bash
# Brings tinyclip_text_weights.npz into models/ (or MODELS_DIR): the token table, the positions, the last norm and
# the projection, cut out of TinyCLIP's checkpoint without fetching the rest of it, and verified.
# It needs no Python on this machine where the image is there: see scripts/models.sh.
set -euo pipefail
case ${1-} in
  '') exec "$(dirname -- "${BASH_SOURCE[0]}")/models.sh" fetch tinyclip_text_weights.npz ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" ;;
  *) echo "$0 takes no arguments but --help" >&2; exit 2 ;;
esac
