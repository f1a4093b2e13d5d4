#!/usr/bin/env bash
# Sets the worker up, in a container or in this folder, and serves or tests it. See usage below, or the README.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

usage() {
  cat <<'END'
Usage: ./setup.sh [OPTION…]                from a bare host to a running container for Immich
       ./setup.sh serve [--cpu]            without Docker: set up what is missing, fetch models, serve on port 3003
       ./setup.sh test [--full] [ARG…]     set up what is missing, run the checks and the fast tests, or all of them
       ./setup.sh --help                   print this

Without a command it checks Docker, card, driver and HailoRT's packages, builds the images, fetches models,
starts the container immich-ml-hailo, tests it, and says what to type into Immich. It asks before changing
anything, and asks what Immich has already indexed; it can be run again at any time, and touches no
container that it did not make.
  --cpu                    on the processor; needs neither a card nor HailoRT's packages
  --image NAME             build nothing: take or fetch the image that fits every driver, such as immich-ml-hailo:any
  --clip-backend NAME      tinyclip (the default), vit_b_32, vit_b_16, siglip, siglip2, several separated
                           by commas, or auto: all whose files are there
  --chip NAME              hailo8 or hailo8l, where the card cannot be asked
  --fetch-hailort          fetch HailoRT's packages from its maker's public server, which speaks plain http
  --yes                    yes to every question; the library counts as a new one where no backend is named
  --dry-run                change nothing, print each command that would be run
  --no-start               build the images and stop there
  --missing-ok             go on although model files are missing; their tasks are off
The worker's settings are environment variables, as in: FACE_DETECTOR=scrfd_10g IMMICH_PORT=3004 ./setup.sh
They are kept the next time (in .setup-settings, should the container be gone); FACE_DETECTOR= (empty) goes back to the default.

serve   Settings are environment variables, as in: MODELS_DIR=/data/models ./setup.sh serve
        On a terminal it asks once what Immich has indexed already, and keeps the answer in .serve-settings.
        --cpu is short for ENGINE=cpu. Packages land in .venv, models in models/; deleting them undoes it.
        PYTHON=/path/to/python3.12 chooses the Python.
test    The fast set takes minutes. --full is everything, as CI has it: the slow tests, and the heavy references (PyTorch).
        ARG… go to pytest, as in: ./setup.sh test -k ocr
END
}

step() { printf '\n[%s] %s\n' "$1" "$2"; }
say() { printf '    %s\n' "$*"; }
fail() { # a line on what went wrong, then lines with the remedy
  printf '\nsetup.sh: %s\n' "$1" >&2
  shift
  local line
  for line; do printf '    %s\n' "$(with_sudo "$line")" >&2; done
  exit 1
}
with_sudo() { # LINE: for who has come by sudo, the calls of this script in it with sudo, and settings where it lets them through
  local rest=$1 front settings
  while [[ -n ${SUDO_USER-} && $rest == *./setup.sh* ]]; do
    front=${rest%%./setup.sh*} rest=${rest#*./setup.sh}
    [[ $front =~ ([A-Z_]+=[^ ]* |env( -u [A-Z_]+)+ )*$ ]]
    settings=${BASH_REMATCH[0]} front=${front%"${BASH_REMATCH[0]}"}
    printf '%ssudo %s./setup.sh' "${front%sudo }" "$settings"
  done
  printf '%s' "$rest"
}

parts() { # NAME…: the files beside this one that the command needs
  local part
  for part; do
    # shellcheck source=/dev/null
    source "$project/scripts/setup_$part.sh"
  done
}

command=${1-}
case $command in
  serve)
    parts python serve
    serve "${@:2}"
    ;;
  test)
    parts python test
    test_worker_code "${@:2}"
    ;;
  -h | --help | help) usage ;;
  '' | -*)
    parts worker host
    set_up_worker "$@"
    ;;
  *)
    usage >&2
    fail "there is no command '$command'."
    ;;
esac
