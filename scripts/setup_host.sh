#!/usr/bin/env bash
# A part of setup.sh: what has to be clear before anything can be decided: Docker answers, and there is a Python for the
# planner, this host's or one inside an image. Reads below SETUP_ROOT, so that the tests can show it another host.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

root=${SETUP_ROOT-}
slim=immich-ml-hailo:cpu-slim # the worker for the processor, without models
docker_version=''
# Of Python's own what the planner imports; tests/planner/test_setup_steps.py compares them. Debian's python3-minimal lacks some.
modules=(
  argparse collections dataclasses difflib fnmatch hashlib importlib io itertools json logging os pathlib platform re shlex shutil
  sys tempfile textwrap time typing
)
lacks='This host has no Python of 3.10 or newer'
built='' # the image that this run has made for the planner
# Of this run's settings those that sudo would drop; tests/planner/test_setup_steps.py compares them with the worker's.
to_tell=(
  CLIP_TEXT_ENGINE HAILO_BATCH HAILO_DEVICE_COUNT HAILO_DEVICE_IDS SIGLIP_RESIZE CLIP_DECODING FACE_DETECTOR FACE_RECOGNIZER FACE_SEARCH
  OCR_MODEL IMMICH_LOG_LEVEL LOG_FORMAT KEEP_ALIVE_S REQUEST_TIMEOUT_S MAX_UPLOAD_MB MAX_PIXELS MEMORY_MB TRY_IT PAGE_HOSTS MAX_WAITING MAX_FACES
  MAX_TEXT_LINES MAX_TEXT_TILES HOST_THREADS CPU_THREADS CPU_WORKERS MODEL_TTL MACHINE_LEARNING_MODEL_TTL IMMICH_PORT CONTAINER_MEMORY
  CLIP_BACKEND LOG_LEVEL ENGINE HAILORT_VERSION HAILORT_SOURCE BASE_IMAGE IMAGE MODELS_MIRROR HF_ENDPOINT
)

check_docker() { # sets docker_version
  local words
  [[ -z $docker_version ]] || return 0
  [[ ! ${DOCKER_HOST-} =~ ^(tcp|ssh):// ]] || fail "DOCKER_HOST=$DOCKER_HOST is another machine; this sets up the machine it runs on." \
    "Run it there, or for this machine: env -u DOCKER_HOST ./setup.sh"
  command -v docker >/dev/null || fail "Docker is not here." \
    "Debian, Ubuntu: sudo apt-get install docker.io" \
    "Unraid: Settings, Docker, Enable Docker: Yes" \
    "Others: https://docs.docker.com/engine/install/" \
    "Without Docker: ./setup.sh serve"
  if words=$(docker ps --format '{{.ID}}' 2>&1); then
    docker_version=$(docker --version 2>/dev/null || echo Docker)
    return
  fi
  case $words in
    *'permission denied'*)
      fail "Docker is here, but this user ($(id -un)) may not use it." \
        "Run: sudo $(given)./setup.sh${called_with[*]+ ${called_with[*]}}" \
        "or once: sudo usermod -aG docker $(id -un), log out and in, then this again."
      ;;
    *'Cannot connect to the Docker daemon'* | *'onnection refused'* | *'no such file or directory'*)
      fail "Docker is here, but its daemon does not run." \
        "Run: sudo systemctl start docker" \
        "On Unraid: Settings, Docker, Enable Docker: Yes" \
        "Docker's words: ${words%%$'\n'*}"
      ;;
    *) fail "Docker does not answer: ${words%%$'\n'*}" "Make this work first: docker ps" ;;
  esac
}

given() { # the settings that this run was given: sudo would drop them; *** for the login of an address
  local name value
  for name in "${to_tell[@]}"; do
    [[ -v $name ]] || continue
    value=${!name}
    [[ $value != *://*@* ]] || value="${value%%://*}://***@${value##*@}"
    printf '%s=%q ' "$name" "$value"
  done
}

find_planner() { # ARGUMENT…; sets planner, the call, and planner_root, where it reads /sys
  local candidate words
  local look='import sys, importlib.util
if sys.version_info < (3, 10): sys.exit(1)
print(*(name for name in sys.argv[1:] if not importlib.util.find_spec(name)))'
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    words=$("$candidate" -c "$look" "${modules[@]}" 2>/dev/null) || continue
    if [[ -z $words ]]; then
      planner=(env "PYTHONPATH=$project" PYTHONDONTWRITEBYTECODE=1 "$candidate" -m ml_target.setup)
      planner_root=$root
      return
    fi
    lacks="The $candidate here is not whole (it has no ${words// /, }; python3-minimal is too little)"
  done
  check_options "$@"
  planner_root=$scratch/host
  check_docker
  find_image
  (umask 022 && copy_facts)
  # This folder's own code, which may be newer than the image's; as its owner, since it may be nobody else's to read.
  planner=(docker run --rm -i --network none --read-only -v /tmp --cap-drop all --security-opt no-new-privileges)
  planner+=(--pids-limit 4096 --user "$(owner)" -e PYTHONDONTWRITEBYTECODE=1 -v "$project:$project:ro")
  planner+=(-v "$planner_root:$planner_root:ro" -w "$project" --entrypoint python3 "$image" -m ml_target.setup)
}

check_options() { # ARGUMENT…: by the usage text, before an image is made for the planner, which looks closer
  local help option value about name see='./setup.sh --help lists those there are.'
  help=$(usage)
  while (($#)); do
    option=${1%%=*} value=${1#"${1%%=*}"}
    [[ $1 != -y ]] || option=--yes
    about=${help#*$'\n'"  $option "} about=${about%%$'\n'  -*}
    [[ $option == --* && $help == *$'\n'"  $option "* && ($about == NAME\ * || -z $value) ]] ||
      fail "there is no option '$1'." "$see"
    shift
    [[ $about == NAME\ * ]] || continue
    if [[ -n $value ]]; then value=${value#=}; elif (($#)); then value=$1 && shift; fi
    [[ -n $value ]] || fail "$option takes a name; not ''." "$see"
    IFS=, read -ra names <<<"$value"
    [[ $option == --image ]] || for name in "${names[@]}"; do
      [[ $about == *[^a-z0-9_]"${name,,}"[^a-z0-9_]* ]] || fail "$option does not know '$name'." "$see"
    done
  done
}

find_image() { # sets image, one with a Python: that was named, our container's, or the processor's, which is made where it is not there
  local named=${IMAGE-} ours there='' question='Build it?'
  [[ ! " ${called_with[*]-} " =~ ' --image'[=\ ]([^ ]+) ]] || named=${BASH_REMATCH[1]}
  ours=$(docker inspect --type container --format '{{if index .Config.Labels "immich-ml-hailo.setup"}}{{.Image}}{{end}}' \
    immich-ml-hailo 2>/dev/null) || ours=''
  for image in "${named:-${ours:-$slim}}" "${named:-$slim}"; do
    if docker image inspect --format '{{.Id}}' "$image" >/dev/null 2>&1; then there=1 && break; fi
  done
  printf '\n%s: what to do is decided inside the image %s.\n' "$lacks" "$image"
  [[ -z $there ]] || return 0
  local name call=(docker build -t "$image" --build-arg "BASE_IMAGE=${BASE_IMAGE:-ubuntu:24.04}" --build-arg MODELS=none)
  for name in {HTTP,HTTPS,FTP,NO,ALL}_PROXY {http,https,ftp,no,all}_proxy; do
    [[ -z ${!name-} ]] || call+=(--build-arg "$name")
  done
  call+=(-f Dockerfile.immich-ml-hailo .)
  [[ -z $named ]] || question='Fetch it?' call=(docker pull "$image")
  [[ -n $ours ]] || check_port "${IMMICH_PORT:-3003}"
  check_space
  case " ${called_with[*]-} " in
    *' --dry-run '*)
      say "\$ ${call[*]}"
      say "What comes after that is shown once the image is there."
      exit 0
      ;;
    *' --yes '* | *' -y '*) say "$question Yes, as told beforehand" ;;
    *) confirm "$question" ;;
  esac
  "${call[@]}" || fail "the image $image could not be made; the lines above say why." \
    "Fix that (network, proxy, space: docs/troubleshooting.md), then run this again."
  [[ -n $named ]] || built=$image
}

confirm() { # QUESTION
  local answer='' shows="To see what it would do: ./setup.sh --dry-run"
  [[ -t 0 ]] || fail "this needs an answer, and there is nobody to ask: $1" \
    "Run it in a terminal; or say yes to everything beforehand: ./setup.sh --yes" "$shows"
  read -r -p "    $1 [Y/n] " answer || answer=no
  [[ ${answer,,} =~ ^(y|yes)?$ ]] || fail "stopped; nothing was changed." "$shows"
}

check_port() { # PORT, before anything is fetched for it; the planner looks again
  (exec 4<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 0
  fail "port $1 is taken by another program on this host, often Immich's own worker." \
    "Stop that (ss -ltnp shows which it is)" "or take another one: IMMICH_PORT=3004 ./setup.sh"
}

check_space() { # for the images; where Docker does not say where it keeps them, the build itself has to tell
  local folder free
  folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) && free=$(df -Pk -- "$folder" 2>/dev/null | tail -n 1) || return 0
  read -r _ _ _ free _ <<<"$free"
  [[ ! $free =~ ^[0-9]+$ ]] || ((free / 1024 >= 3000)) ||
    fail "the images need about 3000 MB, and there are $((free / 1024)) MB free on the disk that holds $folder." \
      "Free some (docker system df shows what Docker holds, df -h what the disks do), then run this again." \
      "On Unraid, Docker's own image can be enlarged: Settings, Docker, with Docker stopped."
}

owner() { # of this folder, which in rootless Docker is the container's root
  if [[ $(id -u) != 0 && $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *rootless* ]]; then echo 0:0; else stat -c %u:%g -- .; fi
}

copy_facts() { # the few files of /sys that the planner reads; of a card's driver the link
  local file files=()
  mkdir -- "$planner_root"
  for file in "$root"/sys/bus/pci/devices/*/{vendor,device,driver} "$root"/sys/module/hailo_pci/{version,refcnt} \
    "$root"/sys/class/hailo_chardev/*/board_location "$root"/sys/firmware/efi/efivars/SecureBoot-*; do
    [[ ! -r $file && ! -L $file ]] || files+=("${file#"$root"/}")
  done
  ((${#files[@]} == 0)) || (cd -- "${root:-/}" && cp -P --parents -- "${files[@]}" "$planner_root")
}
