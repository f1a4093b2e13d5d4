#!/usr/bin/env bash
# Stands in for the `docker` command where there is no Docker engine: podman over runc, as root. For tests.
# On a PATH under the name `docker`, it serves setup.sh and the README's lines as they are.
#
# PODMAN_HOME        the folder that holds its images and containers (must be set)
# PODMAN_NETWORK     of containers: none (default; each has its own loopback, --publish means nothing) or host. Those that
#                    ask for the host's network do so to download, and get none: tests bring what they need.
#                    Networks of a Compose project are that one, too
# PODMAN_BUILD_ARGS  added to every build, as in "--build-arg PYTHON=3.11"
# CARD_NODE          a device node of this machine that is shown where --device=/dev/hailo0… is asked for
# CARD_SYS           a folder that is /sys in containers with that node
set -euo pipefail

: "${PODMAN_HOME:?}"
podman=(podman --root "$PODMAN_HOME/store" --runroot "$PODMAN_HOME/run" --storage-driver overlay
  --runtime runc --cgroup-manager cgroupfs --log-level fatal)
# podman looks for systemd, to run health checks from time to time; the tests run them by hand. Its complaints go
# by way of a file: what watches over a container would hold a pipe open for as long as the container lives. So it
# would any other descriptor of the caller's. What starts nothing can do without.
quiet() {
  local complaints code=0
  complaints=$(mktemp)
  "$@" 2>"$complaints" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- || code=$?
  grep -v 'systemd connection' "$complaints" >&2 || true
  rm -f -- "$complaints"
  return "$code"
}

run_arguments=()
adapt() { # OPTION… IMAGE ARG…: what `docker run` and `docker create` are given
  local network=${PODMAN_NETWORK:-none}
  run_arguments=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096 --pull never)
  while (($#)); do
    case $1 in
      -d | --detach | -i | --interactive | -t | --tty | -it | --rm | --init | --read-only) run_arguments+=("$1") ;;
      --device=*) card "${1#*=}" ;;
      --device) card "$2" && shift ;;
      --network=host) network=none ;;
      --network=*) ;;
      --network) network=none && shift ;;
      --publish=* | -p=* | --pull=*) ;;
      --publish | -p | --pull) shift ;;
      --*=*) run_arguments+=("$1") ;;
      -*) run_arguments+=("$1" "$2") && shift ;;
      *) break ;;
    esac
    shift
  done
  run_arguments+=(--network "$network" "$@")
}
card() { # /dev/hailo0:/dev/hailo0
  if [[ -z ${CARD_NODE-} ]]; then
    echo "docker: Error response from daemon: error gathering device information: no such file: ${1%%:*}" >&2
    exit 125
  fi
  # Every container's card is asked about the same picture.
  run_arguments+=(--device "$CARD_NODE:/dev/hailo0")
  run_arguments+=(--volume "$PODMAN_HOME/remembered:/remembered" --env HAILO_SIM_REMEMBER=/remembered)
  [[ -z ${CARD_SYS-} ]] || run_arguments+=(--volume "$CARD_SYS:/sys:ro")
}

command=${1-}
case $command in
  build)
    shift
    read -ra more <<<"${PODMAN_BUILD_ARGS-}"
    quiet "${podman[@]}" build --format docker --isolation chroot --network host --pull=never \
      "${more[@]}" "$@"
    ;;
  run | create)
    shift
    adapt "$@"
    quiet "${podman[@]}" "$command" "${run_arguments[@]}"
    ;;
  info | version) # Docker's names of these fields are others
    field=.Version.Version
    [[ $* != *DockerRootDir* ]] || field=.Store.GraphRoot
    quiet "${podman[@]}" info --format "{{$field}}"
    ;;
  network) ;;
  image | inspect | logs | ps | wait) exec "${podman[@]}" "$@" ;;
  *) quiet "${podman[@]}" "$@" ;;
esac
