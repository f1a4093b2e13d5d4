#!/usr/bin/env bash
# A part of setup.sh: the container. It is told by its label; no other one is ever touched.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

container=immich-ml-hailo
aside=$container-replaced # our container before, until the new one runs
owner_label=immich-ml-hailo.setup
settings_label=immich-ml-hailo.settings
ready_s=${SETUP_READY_S:-300}
patience_s=30 # for what the worker has yet to answer when it is stopped
replacing=0 was_up=0

# ----------------------------------------------------------------- looking

look_at_containers() { # sets published; of ours: current (its name), state (empty: there is none), image, before (its settings)
  local name ports here='' there=''
  current='' state='' image='' before='' leftover='' published=()
  while read -r name ports; do
    case $name in
      "$container") here=1 ;;
      "$aside") there=1 ;;
      *) published+=("$name $ports") ;;
    esac
  done < <(docker ps -a --format '{{.Names}} {{.Ports}}')
  # One that was set aside is left where a run was killed: it is ours still, or what the new one has replaced.
  if [[ -n $there ]] && look_into "$aside"; then leftover=$aside; fi
  if [[ -z $here ]]; then
    leftover='' # but the one to go on with
  else
    look_into "$container" || return 0
  fi
}

look_into() { # NAME of a container that is there: is it ours; sets current, state, image and before
  local found ours
  found=$(docker inspect --type container --format \
    "{{index .Config.Labels \"$owner_label\"}}|{{.State.Status}}|{{.Image}}|{{index .Config.Labels \"$settings_label\"}}" \
    "$1")
  IFS='|' read -r ours state image before <<<"$found"
  if [[ $ours == 1 ]]; then
    current=$1
    return
  fi
  current='' state='' image='' before=''
  ((start == 0)) || fail "there is a container $1 that this script did not make; it is left alone." \
    "To keep it: docker stop $1 && docker rename $1 $1-before" \
    "To be rid of it: docker rm -f $1" "Then run this again."
  return 1
}

is_up() { [[ $state == running || $state == paused || $state == restarting ]]; }

check_port() { # is it free, or ours
  local line other="or take another one: IMMICH_PORT=3004 ./setup.sh"
  for line in ${published[@]+"${published[@]}"}; do
    [[ $line != *":$port->"* ]] ||
      fail "port $port is taken by the container ${line%% *}." "Stop that: docker stop ${line%% *}" "$other"
  done
  if is_up && [[ $(held IMMICH_PORT) == "$port" ]]; then return; fi
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

# ---------------------------------------------------------------- starting

start_container() {
  local call name
  wanted_settings="IMMICH_PORT=$port${memory_chosen:+ CONTAINER_MEMORY=$memory_chosen} ${settings[*]} LIMIT=$memory"
  ((cpu)) || wanted_settings+=" DEVICE=$(joined "${nodes[@]}") GROUP=$(joined "${node_groups[@]}")"
  call=(docker run -d "${card[@]}" --publish "$port:3003")
  for name in "${settings[@]}"; do call+=(-e "$name"); done
  call+=("${confined[@]}" --memory "$memory")
  call+=(--name "$container" --restart unless-stopped --stop-timeout "$patience_s")
  call+=(--label "$owner_label=1" --label "$settings_label=$wanted_settings" "$worker")
  if ((start == 0)); then
    say "not started, as told with --no-start. To start it:"
    show "${call[@]}"
    return
  fi
  look_at_containers
  clear_up
  if [[ -n $state ]]; then
    if [[ $before == "$wanted_settings" && $image == "$(docker image inspect --format '{{.Id}}' "$worker" 2>/dev/null)" ]]; then
      keep_container && return
    fi
    permit
    check_port
    set_aside
  fi
  permit
  [[ -n $state ]] || check_port
  say "starting $container"
  if ((dry)); then
    show "${call[@]}"
  elif ! "${call[@]}" >/dev/null 2>"$scratch/run.log"; then
    explain_run "$(<"$scratch/run.log")"
  elif [[ -s $scratch/run.log ]]; then
    say "(Docker says: $(<"$scratch/run.log"))" # that it cannot limit memory, mostly
  fi
  [[ -n $state ]] || return 0
  remove_aside
  say "(docker image prune frees the image before, if that has changed)"
}

joined() { # WORD…: with commas between
  local IFS=,
  printf '%s' "$*"
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
  if ((replacing)); then
    put_back
  else
    look_at_containers # it may have left one behind; or somebody else has made one of that name meanwhile, which refuses
    [[ -z $state ]] || docker rm -f --volumes "$container" >/dev/null 2>&1 || true
  fi
  case $1 in
    *'port is already allocated'* | *'address already in use'*)
      fail "port $port is taken." "Stop what has it (docker ps; ss -ltnp), or take another one: IMMICH_PORT=3004 ./setup.sh"
      ;;
    */dev/hailo[0-9]*)
      [[ $1 =~ /dev/hailo[0-9]+ ]]
      fail "Docker could not hand ${BASH_REMATCH[0]} to the container: ${1##*: }" "Look at: ls -l /dev/hailo*; dmesg | grep hailo"
      ;;
    *) fail "the container could not be started: $1" "Mend what Docker says there, then run this again." ;;
  esac
}

# --------------------------------------------------------------- replacing

clear_up() { # after a run that was killed while it replaced the container
  if [[ $current == "$aside" ]]; then
    permit
    say "a run before was cut short; giving $aside its name back"
    run docker rename "$aside" "$container" || fail "the name could not be changed." "Mend what Docker says above, then run this again."
  elif [[ -n $leftover ]]; then
    permit
    remove_aside
  fi
}

set_aside() { # ours, stopped when it has answered what it has, gets another name until the new one runs
  say "replacing $container: its image, its settings or its state are not what they should be"
  local mend="Mend what Docker says above, then run this again."
  if is_up; then was_up=1; fi
  ((dry)) || replacing=1
  [[ $state != paused ]] || run docker unpause "$container" >/dev/null || fail "the old container could not be stopped." "$mend"
  # -t, as Docker 28 has another long name for it than those before.
  ((was_up == 0)) || run docker stop -t "$patience_s" "$container" >/dev/null || fail "the old container could not be stopped." "$mend"
  run docker rename "$container" "$aside" || fail "the old container could not be set aside." "$mend"
}

remove_aside() { # the new one has its place
  replacing=0
  run docker rm -f --volumes "$aside" >/dev/null || say "(the old container could not be removed: docker rm -f $aside)"
}

put_back() { # when the new one could not be started, or Ctrl-C came: all as it was
  ((replacing)) || return 0
  replacing=0
  if owned "$aside"; then
    ! owned "$container" || docker rm -f --volumes "$container" >/dev/null || true
    if ! docker rename "$aside" "$container"; then
      say "The container before is kept, stopped, as $aside."
      return
    fi
  fi
  if ((was_up == 0)); then
    say "The container before is there again, as it was."
  elif docker start "$container" >/dev/null; then
    say "The container before runs again."
  else
    say "The container before could not be started again: docker start $container"
  fi
}

owned() { # NAME: is there such a container, and is it ours
  [[ $(docker inspect --type container --format "{{index .Config.Labels \"$owner_label\"}}" "$1" 2>/dev/null) == 1 ]]
}
