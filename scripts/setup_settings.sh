#!/usr/bin/env bash
# A part of setup.sh: the worker's settings: from the environment, else from our container, else from the note of
# what the last one had, else the defaults.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

note=.setup-settings # in the project's folder; for when the container was removed by hand
default_backend=tinyclip # as the worker has it; written down, so that a later default does not move a library
looked_over=0 host_python='' backend_told=''
memory_default=4g pictures_default=1536 # the container's limit, as in compose.yaml, and MEMORY_MB, which is part of it
value_form='[[:alnum:]_.,:/-]*'
# Settings of the worker that are handed on from the environment. The others are set by what this script does.
passed=(
  CLIP_TEXT_ENGINE HAILO_BATCH HAILO_DEVICE_COUNT HAILO_DEVICE_IDS SIGLIP_RESIZE FACE_DETECTOR FACE_RECOGNIZER FACE_SEARCH OCR_MODEL
  IMMICH_LOG_LEVEL LOG_FORMAT TRY_IT KEEP_ALIVE_S REQUEST_TIMEOUT_S MEMORY_MB MAX_UPLOAD_MB MAX_PIXELS MAX_WAITING MAX_FACES
  MAX_TEXT_LINES MAX_TEXT_TILES HOST_THREADS CPU_THREADS CPU_WORKERS CLIP_DECODING MODEL_TTL MACHINE_LEARNING_MODEL_TTL
)

value_in() { # WORDS NAME: the value of the word NAME=value, nothing when there is none
  local word
  for word in $1; do
    [[ $word != "$2="* ]] || printf '%s' "${word#*=}"
  done
}
held() { value_in "$before" "$1"; } # NAME: what our container has had until now
chosen() { value_in "${settings[*]}" "$1"; } # NAME: what it will have

refuse_settings() { # those that this script could only drop
  local leave="Leave it out: env -u" name
  for name in HAILORT_DIR HAILORT_SOURCE MODELS_FETCH; do
    [[ -z ${!name-} ]] || fail "$name is not for this script: the image that it builds holds HailoRT and the models." "$leave $name ./setup.sh" \
      "For $name=${!name}, start the image that fits every driver by hand (docs/templates.md)."
  done
  [[ -z ${MODELS_DIR-} ]] || fail "MODELS_DIR is not for containers: the image takes what is in $project/models." \
    "Leave it out (env -u MODELS_DIR ./setup.sh) and put the files there, or name its folder: MODELS_MIRROR=$MODELS_DIR"
  [[ -z ${IMMICH_HOST-} ]] || fail "IMMICH_HOST is not for containers: inside, the worker has to listen on every address." \
    "$leave IMMICH_HOST ./setup.sh" \
    "To be reached on one address of this host only, start it by hand, with --publish $IMMICH_HOST:3003:3003 in the" \
    "docker run line (README, By hand). ./setup.sh --no-start builds the image and prints that line."
  [[ -z ${HAILO_GROUP_ID-} ]] || fail "HAILO_GROUP_ID is not for this script: a shared card needs hailort_service's socket inside, too." \
    "$leave HAILO_GROUP_ID ./setup.sh" \
    "To share the card, start it by hand, with -e HAILO_GROUP_ID=$HAILO_GROUP_ID and the socket's -v in the docker run line" \
    "(docs/frigate.md; README, By hand). ./setup.sh --no-start builds the image and prints that line."
}

choose_settings() { # sets backend and port, and settings: NAME=VALUE for the worker
  local name value
  settings=()
  look_at_containers
  [[ -n $state ]] || read_note
  port=${IMMICH_PORT:-$(held IMMICH_PORT)} port=${port:-3003}
  [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -lt 65536 ]] ||
    fail "IMMICH_PORT=$port is no port." "Set it to a free one from 1 to 65535."
  backend_told=${backend:-${CLIP_BACKEND:-$(held CLIP_BACKEND)}} backend=${backend_told:-$default_backend}
  [[ $backend =~ ^[[:alnum:]_,]+$ ]] ||
    fail "CLIP_BACKEND='$backend' has a character in it that no such setting has." "Correct it, or leave it out."
  settings+=("CLIP_BACKEND=$backend")
  # Two names of one setting; its own comes first, as in the worker.
  if [[ ! -v IMMICH_LOG_LEVEL && -v LOG_LEVEL ]]; then local IMMICH_LOG_LEVEL=$LOG_LEVEL; fi
  for name in "${passed[@]}"; do
    value=$(held "$name")
    [[ ! -v $name ]] || value=${!name} # set and empty: back to the default
    [[ $name != HAILO_DEVICE_IDS ]] || value=${value//' '/,}
    [[ $value =~ ^$value_form$ ]] ||
      fail "$name='$value' has a character in it that no such setting has." "Correct it, or leave it out."
    [[ -z $value ]] || settings+=("$name=$value")
  done
  ((cpu == 0)) || settings+=(ENGINE=cpu)
  choose_memory
  say "container $container, port $port, ${settings[*]}"
}

choose_memory() { # sets memory, the container's limit, and memory_chosen, where somebody has chosen it
  local pictures
  memory_chosen=${CONTAINER_MEMORY-$(held CONTAINER_MEMORY)}
  [[ $memory_chosen =~ ^(|0|[1-9][0-9]*[mg])$ ]] || fail "CONTAINER_MEMORY=$memory_chosen is no size." \
    "Set it as in CONTAINER_MEMORY=6g or 6000m; 0 is no limit, and CONTAINER_MEMORY= (empty) goes back to the default."
  memory=${memory_chosen:-$memory_default} pictures=$(chosen MEMORY_MB)
  if [[ -z $memory_chosen && $pictures =~ ^[0-9]{1,7}$ ]] && ((10#$pictures > pictures_default)); then
    memory=$((4096 + (10#$pictures - pictures_default) * 11 / 10))m
  fi
}

# ------------------------------------------------------------------- check

look_over() { # COMMAND… that runs a Python: bad values, and slips in the names, are told before anything is fetched
  local names words line code=0
  mapfile -t names < <(compgen -e)
  words=$("$@" -m ml_target.diagnostics.settings ${chip:+--chip "$chip"} "${names[@]}" 2>&1) || code=$?
  while IFS= read -r line; do [[ -z $line ]] || say "$line"; done <<<"$words"
  ((code == 0)) || fail "a setting is not right; the line above says which, and what it takes." \
    "Settings are environment variables: CLIP_BACKEND=siglip ./setup.sh (docs/settings.md lists them)."
  looked_over=1
}

look_over_settings() { # with a Python of this host, where there is one; its own packages are not needed
  local candidate call
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    fits "$(minor_of "$candidate")" || continue
    host_python=$candidate
    worker_python
    look_over "${call[@]}"
    return
  done
}

worker_python() { # sets call: a Python that has the worker's code, this host's or one inside the image, with the settings
  local name
  if [[ -n $host_python ]]; then
    call=(env "PYTHONPATH=$project" PYTHONDONTWRITEBYTECODE=1 "IMMICH_PORT=$port" "${settings[@]}" "$host_python")
    return
  fi
  call=(docker run --rm "${confined[@]}")
  for name in "${settings[@]}"; do call+=(-e "$name"); done
  call+=(--entrypoint python3 "$slim")
}

look_over_settings_inside() { # a host without Python, such as Unraid: inside the image, as soon as there is one
  if ((looked_over)); then return; fi
  local call
  worker_python
  if ((dry)); then
    show "${call[@]}" -m ml_target.diagnostics.settings
  else
    look_over "${call[@]}"
  fi
}

# -------------------------------------------------------------------- note

read_note() { # sets before, where there is no container of ours that could tell
  [[ -e $note ]] || return 0
  local delete="Delete it, then run this again with the settings you want: rm -f '$project/$note'"
  [[ -f $note && -r $note ]] || fail "$project/$note, the settings of the last container, cannot be read." \
    "Make it readable, or forget them: rm -rf '$project/$note'"
  before=$(first_line "$note")
  [[ $before =~ ^([A-Z0-9_]+=$value_form( |$))+$ && $before =~ (^| )CLIP_BACKEND=[[:alnum:]_,]+( |$) ]] ||
    fail "$project/$note, the settings of the last container, is damaged." "$delete"
  say "there is no container $container; as before: $before"
  say "(from $project/$note; delete that file to forget them)"
}

note_settings() { # of the container that was started
  local line=$1
  [[ $line != "$(first_line "$note")" ]] || return 0
  # By way of another name: it may be root's, from a run with sudo.
  if ! { (umask 022 && printf '%s\n' "$line" >"$note.new") && mv -f -- "$note.new" "$note"; } 2>/dev/null; then
    rm -f -- "$note.new" 2>/dev/null || true
    say "(the settings could not be kept in $project/$note; only the container has them, so do not remove it by hand)"
  fi
}
