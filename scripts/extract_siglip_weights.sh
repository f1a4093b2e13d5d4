#!/usr/bin/env bash
# Brings siglip_text_weights.npz and spiece.model, the vocabulary, into models/ (or MODELS_DIR). The weights (token
# table, positions, last norm, head) are cut out of SigLIP's checkpoint without fetching the rest of it. Both are verified.
# It needs no Python on this machine where the image is there: see scripts/models.sh.
set -euo pipefail
case ${1-} in
  '') exec "$(dirname -- "${BASH_SOURCE[0]}")/models.sh" fetch siglip_text_weights.npz spiece.model ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" ;;
  *) echo "$0 takes no arguments but --help" >&2; exit 2 ;;
esac
