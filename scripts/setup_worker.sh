#!/usr/bin/env bash
# A part of setup.sh: carries out what the planner (ml_target/setup) decides. It makes every call of Docker, asks every
# question, and knows nothing else of the project. Planner and shell talk through two pipes, each word ends with a NUL.
# shellcheck disable=SC2154  # the parts share their variables

undo=() # the way back: for each deed its number of words, and those (ml_target/setup/steps.py: Undo)

set_up_worker() { # ARGUMENT…
  called_with=("$@")
  cd -- "$project" || exit
  export LC_ALL=C
  scratch=$(mktemp -d)
  exec 3>&1
  trap leave EXIT
  trap : PIPE # a planner that has gone is noticed when it is read from
  find_planner "$@"
  # shellcheck disable=SC2034  # bash wants the name
  coproc PLANNER { exec "${planner[@]}" 3>&-; }
  exec 8<&"${PLANNER[0]}" 9>&"${PLANNER[1]}"
  exec {PLANNER[0]}<&- {PLANNER[1]}>&-
  hand_over "$@" >&9
  while take_step; do carry_out; done
  fail "the planner ended by itself; what stands above says why." "Run this again; if it stays, report it with those words."
}

leave() { # however it ends; a function that Ctrl-C ended may have sent standard output elsewhere
  way_back >&3
  rm -rf -- "$scratch"
}

hand_over() { # ARGUMENT…: what was seen, and what was given
  local facts=("project=$project" "root=$planner_root" "host=$root" "machine=$(uname -m)" "kernel=$(uname -r)")
  facts+=("user=$(id -u)" "asks=$([[ ! -t 0 ]] || echo 1)" "sees=$([[ ! -t 3 ]] || echo 1)" "nodes=$(nodes)")
  printf '%s\0' "${#facts[@]}" "${facts[@]}" "$#" "$@"
  env -0
  printf '\0'
}

nodes() { # a line for each device node of a card: its path, mode and group
  local node
  for node in "$root"/dev/hailo[0-9]*; do
    [[ ! -e $node ]] || printf '%s %s\n' "${node#"$root"}" "$(stat -c '%a %g' -- "$node")"
  done
}

# ------------------------------------------------------------------- steps

take_step() { # sets kind and words
  local count word
  words=()
  IFS= read -r -d '' -u 8 count && IFS= read -r -d '' -u 8 kind || return 1
  while ((count-- > 0)); do
    IFS= read -r -d '' -u 8 word || return 1
    words+=("$word")
  done
}

answer() { printf '%s\0' "$1" "${2-}" >&9; } # CODE [TEXT]

carry_out() {
  local code=0 text=''
  case $kind in
    out) printf '%s\n' "${words[0]}" ;;
    err) printf '%s\n' "${words[0]}" >&2 ;;
    run) run "${words[@]}" ;;
    ask)
      read -r -p "${words[0]}" text || code=1
      answer "$code" "$text"
      ;;
    docker)
      check_docker
      answer 0 "$docker_version"
      ;;
    ping)
      answers "${words[0]}" || code=1
      answer "$code"
      ;;
    write)
      write "${words[@]}" 2>/dev/null || code=1
      answer "$code"
      ;;
    arm) undo=("${words[@]}") ;;
    undo)
      way_back
      answer 0
      ;;
    refuse) fail "${words[@]}" ;;
    end) exit 0 ;;
    *) fail "the planner asked for '$kind', which is not known." "Take setup.sh, scripts and ml_target from one version." ;;
  esac
}

run() { # MODE COMMAND…: into a file, and in this very shell: so Ctrl-C ends both
  local mode=$1 out=$scratch/out code=0 text=''
  shift
  : >"$out"
  case $mode in
    shown) "$@" 8<&- 9>&- || code=$? ;;
    logged) "$@" 2>&1 8<&- 9>&- | tee -- "$out" || code=$? ;;
    captured) "$@" >"$out" 8<&- 9>&- || code=$? ;;
    quiet) "$@" >"$out" 2>/dev/null 8<&- 9>&- || code=$? ;;
    merged) "$@" >"$out" 2>&1 8<&- 9>&- || code=$? ;;
    errors) "$@" 2>"$out" >/dev/null 8<&- 9>&- || code=$? ;;
    complaint) "$@" >&2 8<&- 9>&- || code=$? ;;
  esac
  IFS= read -r -d '' text <"$out" || true
  answer "$code" "$text"
}

write() { # FILE TEXT; by way of another name, as it may be root's, from a run with sudo
  (umask 022 && printf '%s' "$2" >"$1.new") && mv -f -- "$1.new" "$1" && return
  rm -f -- "$1.new"
  return 1
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
    exec {line}>&-
  } 2>/dev/null
  [[ $answer == *' 200 '*pong* ]]
)

# ---------------------------------------------------------------- way back

way_back() { # each deed once, and in its order, as ml_target/setup/steps.py has it
  local deed label done failed count owners
  while ((${#undo[@]})); do
    deed=("${undo[@]:1:undo[0]}") undo=("${undo[@]:undo[0]+1}")
    label=${deed[0]} done=${deed[1]} failed=${deed[2]} count=${deed[3]}
    owners=("${deed[@]:4:count}")
    all_owned "$label" ${owners[@]+"${owners[@]}"} || continue
    if "${deed[@]:4+count}" >/dev/null; then
      [[ -z $done ]] || say "$done"
    elif [[ -n $failed ]]; then
      say "$failed"
      undo=()
    fi
  done
}

all_owned() { # LABEL CONTAINER…: are they all there, and do they bear it
  local name
  for name in "${@:2}"; do
    [[ $(docker inspect --type container --format "{{index .Config.Labels \"$1\"}}" "$name" 2>/dev/null) == 1 ]] || return 1
  done
}
