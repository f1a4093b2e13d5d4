#!/usr/bin/env bash
# A part of setup.sh: the container. It is told by its label; no other one is ever touched.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

container=immich-ml-hailo
owner_label=immich-ml-hailo.setup
settings_label=immich-ml-hailo.settings
ready_s=${SETUP_READY_S:-300}
# Settings of the worker that are handed on from the environment. The others are set by what this script does.
passed=(
  CLIP_TEXT_ENGINE HAILO_BATCH SIGLIP_RESIZE FACE_DETECTOR FACE_RECOGNIZER FACE_SEARCH IMMICH_LOG_LEVEL KEEP_ALIVE_S
  REQUEST_TIMEOUT_S MAX_UPLOAD_MB MAX_PIXELS MAX_WAITING MAX_FACES MAX_TEXT_LINES MAX_TEXT_TILES HOST_THREADS CPU_THREADS
  CPU_WORKERS
)

look_at_containers() { # sets published, and of ours: state (empty: there is none), image, and before, its settings
  local name ports found ours
  state='' image='' before='' published=()
  while read -r name ports; do
    if [[ $name == "$container" ]]; then state=there; else published+=("$name $ports"); fi
  done < <(docker ps -a --format '{{.Names}} {{.Ports}}')
  [[ -n $state ]] || return 0
  found=$(docker inspect --type container --format \
    "{{index .Config.Labels \"$owner_label\"}}|{{.State.Status}}|{{.Image}}|{{index .Config.Labels \"$settings_label\"}}" \
    "$container")
  IFS='|' read -r ours state image before <<<"$found"
  if [[ $ours != 1 ]]; then
    state='' image='' before=''
    ((start == 0)) || fail "there is a container $container that this script did not make; it is left alone." \
      "To keep it: docker stop $container && docker rename $container $container-before" \
      "To be rid of it: docker rm -f $container" "Then run this again."
  fi
}

held() { # NAME: the value that our container has for this setting, if it has any
  local word
  for word in $before; do
    [[ $word != "$1="* ]] || printf '%s' "${word#*=}"
  done
}

choose_settings() { # sets backend and port, and settings: NAME=VALUE for the worker
  local name value
  settings=()
  look_at_containers
  port=${IMMICH_PORT:-$(held IMMICH_PORT)} port=${port:-3003}
  [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -lt 65536 ]] ||
    fail "IMMICH_PORT=$port is no port." "Set it to a free one from 1 to 65535."
  backend=${backend:-${CLIP_BACKEND:-$(held CLIP_BACKEND)}} backend=${backend:-tinyclip}
  settings+=("CLIP_BACKEND=$backend")
  for name in "${passed[@]}"; do
    value=$(held "$name")
    [[ ! -v $name ]] || value=${!name} # set and empty: back to the default
    [[ $value =~ ^[[:alnum:]_.,:/-]*$ ]] ||
      fail "$name='$value' has a character in it that no such setting has." "Correct it, or leave it out."
    [[ -z $value ]] || settings+=("$name=$value")
  done
  ((cpu == 0)) || settings+=(ENGINE=cpu)
  say "container $container, port $port, ${settings[*]}"
  if [[ -n $before && $(held CLIP_BACKEND) != "$backend" ]]; then
    say "Until now it had CLIP_BACKEND=$(held CLIP_BACKEND). Vectors of two backends do not mix: Immich has to get the"
    say "other model name, and Smart Search has to run for all photos again (README, What switching costs)."
    confirm "Change it?" || fail "stopped; nothing was changed." "As it was: ./setup.sh --clip-backend $(held CLIP_BACKEND)"
  fi
}

check_port() { # is it free, or ours
  local line other="or take another one: IMMICH_PORT=3004 ./setup.sh"
  for line in ${published[@]+"${published[@]}"}; do
    [[ $line != *":$port->"* ]] ||
      fail "port $port is taken by the container ${line%% *}." "Stop that: docker stop ${line%% *}" "$other"
  done
  if [[ $state == running && $(held IMMICH_PORT) == "$port" ]]; then return; fi
  ! listening || fail "port $port is taken by another program on this host, often Immich's own worker." \
    "Stop that (ss -ltnp tells which it is)" "$other"
}

listening() { # does anything on this host listen on the port
  local file address status wanted
  printf -v wanted ':%04X' "$port"
  for file in "$root"/proc/net/tcp "$root"/proc/net/tcp6; do
    [[ -r $file ]] || continue
    while read -r _ address _ status _; do
      [[ $address != *"$wanted" || $status != 0A ]] || return 0
    done <"$file"
  done
  return 1
}

start_container() {
  local wanted_settings="IMMICH_PORT=$port ${settings[*]}" call name
  ((cpu)) || wanted_settings+=" DEVICE=/dev/hailo0 GROUP=$node_group"
  call=(docker run -d "${card[@]}" --publish "$port:3003")
  for name in "${settings[@]}"; do call+=(-e "$name"); done
  call+=(--name "$container" --restart unless-stopped --label "$owner_label=1" --label "$settings_label=$wanted_settings" "$worker")
  if ((start == 0)); then
    say "not started, as told with --no-start. To start it:"
    show "${call[@]}"
    return
  fi
  look_at_containers
  if [[ -n $state ]]; then
    if [[ $before == "$wanted_settings" && $image == "$(docker image inspect --format '{{.Id}}' "$worker" 2>/dev/null)" ]]; then
      keep_container && return
    fi
    permit
    check_port
    say "replacing $container: its image, its settings or its state are not what they should be"
    run docker rm -f "$container" >/dev/null || fail "the old container could not be removed." "Its words stand above; then run this again."
    say "(docker image prune frees the image before, if that has changed)"
  fi
  permit
  [[ -n $state ]] || check_port
  say "starting $container"
  if ((dry)); then
    show "${call[@]}"
  elif ! "${call[@]}" >/dev/null 2>"$scratch/run.log"; then
    explain_run "$(<"$scratch/run.log")"
  fi
}

keep_container() { # ours is as it should be: leave it, or start it; fails when it has to be made anew
  case $state in
    running) say "$container runs, and nothing has changed" ;;
    exited)
      permit
      say "starting $container again"
      check_port
      run docker start "$container" >/dev/null || fail "it could not be started." "Mend what Docker says above, then run this again."
      ;;
    *) return 1 ;;
  esac
}

explain_run() { # WORDS of a docker run that failed
  look_at_containers # it may have left one behind; or somebody else has made one of that name meanwhile, which refuses
  [[ -z $state ]] || docker rm -f "$container" >/dev/null 2>&1 || true
  case $1 in
    *'port is already allocated'* | *'address already in use'*)
      fail "port $port is taken." "Stop what has it (docker ps; ss -ltnp), or take another one: IMMICH_PORT=3004 ./setup.sh"
      ;;
    *hailo0*) fail "Docker could not hand /dev/hailo0 to the container: ${1##*: }" "Look at: ls -l /dev/hailo*; dmesg | grep hailo" ;;
    *) fail "the container could not be started: $1" "Mend what Docker says there, then run this again." ;;
  esac
}
