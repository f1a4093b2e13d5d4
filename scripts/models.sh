#!/usr/bin/env bash
# scripts/models.sh [list|fetch|verify] [ARG…]: `python3 -m ml_target models …`, wherever that can run on this machine:
# with the project's .venv, with a python3 that has the packages, or else inside the image, with docker (Unraid).
#
# MODELS_DIR     the folder with the models; models/ of this project when left out
# IMAGE          the image; when left out immich-ml-hailo:v$HAILORT_VERSION (the driver's, or 4.23.0), immich-ml-hailo:cpu,
#                or the one of the container immich-ml-hailo
# The settings that decide which files are wanted, where they come from, proxies and pip's own count in the image, too.
set -euo pipefail

root=${SETUP_ROOT-} # where /dev and /sys are; another folder in tests
driver=$root/sys/module/hailo_pci/version
# Whatever decides which files are wanted, and how they are had.
handed_on=(
  CLIP_BACKEND CLIP_TEXT_ENGINE FACE_DETECTOR FACE_RECOGNIZER OCR_MODEL HF_ENDPOINT MODELS_MIRROR
  HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy ftp_proxy no_proxy all_proxy
  PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_NO_INDEX PIP_PROXY PIP_RETRIES PIP_TIMEOUT
)

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf 'models: %s\n' "$*" >&2; }
fail() { # a line on what went wrong, then lines with the remedy
  printf '\nmodels: %s\n' "$1" >&2
  shift
  printf '    %s\n' "$@" >&2
  exit 1
}

# ------------------------------------------------------------------ Python

with_python() { PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH} "$@"; }
fits() { with_python "$1" -c 'import sentencepiece, ml_target.diagnostics.predict, ml_target.store.command' >/dev/null 2>&1; }
for python in ${PYTHON:+"$PYTHON"} "$project/.venv/bin/python" python3; do
  if command -v "$python" >/dev/null && fits "$python"; then
    with_python exec "$python" -m ml_target models "$@"
  fi
done

# ------------------------------------------------------------------- image

command -v docker >/dev/null || fail "there is neither a Python with this project's packages here, nor Docker." \
  "With Docker: install it, build the image as the README says, then run this again." \
  "Without: ./setup.sh serve --cpu puts what is needed into .venv (Debian or Ubuntu with Python 3.10 to 3.13)."
if ! words=$(docker version --format '{{.Server.Version}}' 2>&1); then
  fail "Docker does not answer: $words" "Start it (sudo systemctl start docker), or run this as a user who may use it (sudo)."
fi
image=${IMAGE-}
version=${HAILORT_VERSION-}
if [[ -z $version && -r $driver ]]; then version=$(<"$driver") && version=${version%%[!0-9.]*}; fi # without a -1 or so
version=${version:-4.23.0}
for name in "immich-ml-hailo:v$version" immich-ml-hailo:cpu; do
  if [[ -z $image ]] && docker image inspect "$name" >/dev/null 2>&1; then image=$name; fi
done
[[ -n $image ]] || image=$(docker inspect --type container --format '{{.Config.Image}}' immich-ml-hailo 2>/dev/null) || image=''
[[ -n $image ]] || fail "there is no image immich-ml-hailo:v$version nor immich-ml-hailo:cpu here." \
  "Build it: docker build -t immich-ml-hailo:cpu --build-arg BASE_IMAGE=ubuntu:24.04 -f Dockerfile.immich-ml-hailo ." \
  "or name the one you have: IMAGE=name:tag $0 $*"

models=${MODELS_DIR:-$project/models}
mkdir -p -- "$models" || fail "$models cannot be made." "Set MODELS_DIR to a folder that this user may write."
models=$(cd -- "$models" && pwd -P)
# As in setup.sh: as the folder's owner (in rootless Docker the container's root), with no rights and nothing to write
# but that folder; and on the host's network, so that a mirror on this host can be reached.
owner=$(stat -c %u:%g -- "$models")
if [[ $(id -u) != 0 && $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *rootless* ]]; then owner=0:0; fi
options=(--rm --network host --read-only -v /tmp --cap-drop all --security-opt no-new-privileges --pids-limit 4096)
options+=(--user "$owner" -v "$models:/app/models")
for variable in "${handed_on[@]}"; do
  if [[ -n ${!variable-} ]]; then options+=(-e "$variable"); fi
done
options+=(-e "IMMICH_ML_MODELS_COMMAND=scripts/models.sh") # what its messages call it
# The container is given no card, so what auto means is found out here.
engine=${ENGINE:-auto} arguments=()
while (($#)); do
  case $1 in
    --engine=auto) engine=auto ;;
    --engine) if [[ ${2-} == auto ]]; then engine=auto && shift; else arguments+=("$1"); fi ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
nodes=("$root"/dev/hailo[0-9]*)
if [[ ${engine,,} == auto && -e ${nodes[0]} ]]; then engine=hailo; fi
if [[ ${engine,,} != auto ]]; then options+=(-e "ENGINE=$engine"); fi
mirror=${MODELS_MIRROR-}
if [[ -n $mirror && -d ${mirror#file://} ]]; then # a folder has to be in the container, too
  mirror=$(cd -- "${mirror#file://}" && pwd -P)
  export MODELS_MIRROR=$mirror
  options+=(-v "$mirror:$mirror:ro")
fi
say "no Python with this project's packages here; running inside $image"
exec docker run "${options[@]}" "$image" python3 -m ml_target models ${arguments[@]+"${arguments[@]}"}
