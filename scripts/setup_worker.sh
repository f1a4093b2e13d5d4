#!/usr/bin/env bash
# A part of setup.sh: carries out what the planner (ml_target/setup) decides. It makes every call of Docker, asks every
# question, and knows nothing else of the project. The two talk through pipes; each word ends with a NUL.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

undo=() # the way back: for each deed its number of words, and those (Undo in ml_target/setup/steps.py)

set_up_worker() { # ARGUMENT…
  called_with=("$@")
  cd -- "$project" || exit
  export LC_ALL=C
  scratch=$(mktemp -d)
  exec 3>&1
  trap leave EXIT
  trap : PIPE # that the planner has gone is noticed where it is read from
  find_planner "$@"
  # It begins once both ends are here: bash takes those of a process away that has ended.
  coproc PLANNER { read -r && exec "${planner[@]}" 3>&-; }
  local from=${PLANNER[0]} to=${PLANNER[1]}
  exec 8<&"$from" 9>&"$to" {from}<&- {to}>&-
  hand_over "$@" >&9 2>/dev/null || true
  while take_step; do
    carry_out
    printf '%s\0' "$code" "$text" >&9 2>/dev/null || true
  done
  fail "the planner ended by itself; the lines above say why." "Run this again; if it stays, report it with those words."
}

leave() { # however it ends; a function that Ctrl-C ended may have sent standard output elsewhere
  way_back >&3
  rm -rf -- "$scratch"
}

hand_over() { # ARGUMENT…: what was seen, and what was given
  local node nodes='' facts=("project=$project" "root=$planner_root" "shell_root=$root" "machine=$(uname -m)" "kernel=$(uname -r)")
  for node in "$root"/dev/hailo[0-9]*; do
    [[ ! -e $node ]] || nodes+="${node#"$root"} $(stat -c '%a %g' -- "$node")"$'\n'
  done
  facts+=("user=$(id -u)" "asks=$([[ ! -t 0 ]] || echo 1)" "sees=$([[ ! -t 3 ]] || echo 1)" "nodes=$nodes" "built=$built")
  printf '\n'
  printf '%s\0' "${#facts[@]}" "${facts[@]}" "$#" "$@"
  env -0
  printf '\0'
}

take_step() { # sets kind and words
  local count word
  words=()
  IFS= read -r -d '' -u 8 count && IFS= read -r -d '' -u 8 kind || return 1
  while ((count-- > 0)); do
    IFS= read -r -d '' -u 8 word || return 1
    words+=("$word")
  done
}

carry_out() { # sets code and text, the answer
  code=0 text=''
  case $kind in
    out) printf '%s\n' "${words[0]}" ;;
    err) printf '%s\n' "${words[0]}" >&2 ;;
    run) run "${words[@]}" ;;
    ask) read -r -p "${words[0]}" text || code=1 ;;
    docker) check_docker && text=$docker_version ;;
    ping) answers "${words[0]}" || code=1 ;;
    write) # by way of another name, as it may be root's, from a run with sudo
      (umask 022 && printf '%s' "${words[1]}" >"${words[0]}.new" && mv -f -- "${words[0]}.new" "${words[0]}") 2>/dev/null ||
        { code=1 && rm -f -- "${words[0]}.new"; }
      ;;
    arm) undo=("${words[@]}") ;;
    undo) way_back ;;
    refuse) fail "${words[@]}" ;;
    end) exit 0 ;;
    *) fail "the planner asked for '$kind', which is not known." "Take setup.sh, scripts and ml_target from one version." ;;
  esac
}

run() { # MODE COMMAND…: into a file, and in this very shell, so that Ctrl-C ends both
  local out=$scratch/out
  : >"$out"
  case $1 in
    shown) "${@:2}" 8<&- 9>&- || code=$? ;;
    logged) "${@:2}" 2>&1 8<&- 9>&- | tee -- "$out" || code=$? ;;
    captured) "${@:2}" >"$out" 8<&- 9>&- || code=$? ;;
    quiet) "${@:2}" >"$out" 2>/dev/null 8<&- 9>&- || code=$? ;;
    merged) "${@:2}" >"$out" 2>&1 8<&- 9>&- || code=$? ;;
    errors) "${@:2}" 2>"$out" >/dev/null 8<&- 9>&- || code=$? ;;
    complaint) "${@:2}" >&2 8<&- 9>&- || code=$? ;;
  esac
  IFS= read -r -d '' text <"$out" || true
}

answers() ( # PORT: does the worker answer its ping on the host's port
  # In a process of its own: until the worker listens, Docker takes a connection and drops it at once, which is
  # SIGPIPE for whoever writes to it.
  trap '' PIPE
  answer=''
  {
    exec {line}<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'GET /ping HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&"$line"
    read -r -d '' -t 5 -u "$line" answer || true
  } 2>/dev/null
  [[ $answer == *' 200 '*pong* ]]
)

way_back() { # each deed once, and in its order
  local deed count
  while ((${#undo[@]})); do
    deed=("${undo[@]:1:undo[0]}") undo=("${undo[@]:undo[0]+1}") # label, what to say, count and names of containers, command
    count=${deed[3]}
    owned "${deed[0]}" "${deed[@]:4:count}" || continue
    if "${deed[@]:4+count}" >/dev/null; then
      [[ -z ${deed[1]} ]] || say "${deed[1]}"
    elif [[ -n ${deed[2]} ]]; then
      say "${deed[2]}"
      undo=()
    fi
  done
}

owned() { # LABEL CONTAINER…: are they all there, and do they bear it
  local name
  for name in "${@:2}"; do
    [[ $(docker inspect --type container --format "{{index .Config.Labels \"$1\"}}" "$name" 2>/dev/null) == 1 ]] || return 1
  done
}
