#!/usr/bin/env bash
# A part of setup.sh: is this host able to run the worker? Docker, architecture, disk.
# Reads below SETUP_ROOT, so that the tests can show it another host.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

root=${SETUP_ROOT-}

first_line() { # FILE: its first line, or nothing
  local line=''
  [[ ! -r $1 ]] || read -r line <"$1" || true
  printf '%s' "$line"
}

# ------------------------------------------------------------------ Docker

check_docker() {
  case ${DOCKER_HOST-} in
    tcp://* | ssh://*)
      fail "DOCKER_HOST=$DOCKER_HOST is another machine; this sets up the machine it runs on." \
        "Run it there, or for this machine: env -u DOCKER_HOST ./setup.sh"
      ;;
  esac
  command -v docker >/dev/null || fail "Docker is not here." \
    "Debian, Ubuntu: sudo apt-get install docker.io" \
    "Unraid: Settings, Docker, Enable Docker: Yes" \
    "Others: https://docs.docker.com/engine/install/" \
    "Without Docker: ./setup.sh serve"
  local words
  if words=$(docker ps --format '{{.ID}}' 2>&1); then
    say "$(docker --version 2>/dev/null || echo Docker)"
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
  for name in "${passed[@]}" IMMICH_PORT CONTAINER_MEMORY CLIP_BACKEND LOG_LEVEL ENGINE HAILORT_VERSION BASE_IMAGE MODELS_MIRROR HF_ENDPOINT; do
    [[ -v $name ]] || continue
    value=${!name}
    [[ $value != *://*@* ]] || value="${value%%://*}://***@${value##*@}"
    printf '%s=%q ' "$name" "$value"
  done
}

check_space() { # MEGABYTES FOLDER WHAT
  local free
  free=$(df -Pk -- "$2" 2>/dev/null | tail -n 1) || return 0
  read -r _ _ _ free _ <<<"$free"
  [[ $free =~ ^[0-9]+$ ]] || return 0 # a folder that this user may not look into: the build will tell
  ((free / 1024 >= $1)) || fail "$3 need about $1 MB, and there are $((free / 1024)) MB free on the disk that holds $2." \
    "Free some (docker system df tells what Docker holds, df -h what the disks do), then run this again." \
    "On Unraid, Docker's own image can be enlarged: Settings, Docker, with Docker stopped."
}

# ------------------------------------------------------------- architecture

check_architecture() { # sets deb_arch and whl_arch
  local machine server
  machine=$(uname -m)
  case $machine in
    x86_64 | amd64) deb_arch=amd64 whl_arch=x86_64 ;;
    aarch64 | arm64) deb_arch=arm64 whl_arch=aarch64 ;;
    *) fail "this machine is $machine; the worker runs on x86_64 and aarch64." \
      "On a Raspberry Pi install the 64-bit system: HailoRT has no package for another one." ;;
  esac
  # A 32-bit system on a 64-bit kernel, as Raspberry Pi OS has it, builds and runs images of 32 bits.
  server=$(docker version --format '{{.Server.Arch}}' 2>/dev/null) || server=''
  case $server in
    amd64 | arm64 | arm | armhf | armel | 386)
      [[ $server == "$deb_arch" ]] ||
        fail "this machine is $machine, but the Docker on it is for $server: the system on it is of another kind than its kernel." \
          "On a Raspberry Pi install the 64-bit system: HailoRT has no package for another one. (getconf LONG_BIT then says 64.)"
      ;;
  esac
  say "$machine"
}
