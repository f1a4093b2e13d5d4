#!/usr/bin/env bash
# A part of setup.sh: from a bare host to a running container, step by step. The steps are in the parts beside it.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

yes=0 dry=0 cpu=0 start=1 missing_ok=0 backend='' chip='' permitted=0 incomplete=0

worker_options() { # ARGUMENT…
  while (($#)); do
    case $1 in
      -y | --yes) yes=1 ;;
      --dry-run) dry=1 ;;
      --cpu) cpu=1 ;;
      --no-start) start=0 ;;
      --missing-ok) missing_ok=1 ;;
      --clip-backend=* | --chip=*)
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
        continue
        ;;
      --clip-backend)
        backend=$(given_with "$1" "${2-}")
        shift
        ;;
      --chip)
        chip=$(given_with "$1" "${2-}")
        shift
        ;;
      *) fail "there is no option '$1'." "./setup.sh --help lists those there are." ;;
    esac
    shift
  done
  case ${ENGINE-} in
    cpu) cpu=1 ;;
    '' | auto | hailo) ;;
    *) fail "ENGINE=$ENGINE is not known." "Leave it out, or ENGINE=cpu, which is the same as --cpu." ;;
  esac
  refuse_settings
  [[ $cpu == 0 || -z $chip ]] || fail "--chip is about a card, --cpu is without one." "Leave one of them out."
}

given_with() { # OPTION VALUE: prints the value; which there are, the worker's code knows (look_over in setup_settings.sh)
  [[ $2 =~ ^[[:alnum:]_,]+$ ]] || fail "$1 takes a name; not '$2'." "./setup.sh --help lists the options."
  printf '%s' "$2"
}

# ------------------------------------------------------------------ asking

confirm() { # QUESTION: is the answer yes
  local answer=''
  if ((dry || yes)); then
    say "$1 Yes, as told beforehand"
    return
  fi
  [[ -t 0 ]] || fail "this needs an answer, and there is nobody to ask: $1" \
    "Run it in a terminal; or say yes to everything beforehand: ./setup.sh --yes" \
    "What it would do shows: ./setup.sh --dry-run"
  read -r -p "    $1 [Y/n] " answer || answer=no
  [[ ${answer,,} =~ ^(y|yes)?$ ]]
}

permit() { # asks once, before the first change
  if ((permitted || dry)); then return; fi
  local what="Build what is missing, and start the container $container on port $port?"
  ((start)) || what="Build what is missing?"
  confirm "$what" || fail "stopped; nothing was changed." "What it would do shows: ./setup.sh --dry-run"
  permitted=1
}

show() { # COMMAND…, as one would type it
  local text word
  for word; do
    if [[ $word =~ ^[[:alnum:]_./:=,@%+-]+$ ]]; then text+=" $word"; else printf -v text "%s '%s'" "${text-}" "${word//\'/\'\\\'\'}"; fi
  done
  say "\$$text"
}

run() { # COMMAND…: runs it, or only shows it
  if ((dry)); then show "$@" >&3; else "$@"; fi
}

# ------------------------------------------------------------------- steps

leave() { # however it ends; a function that Ctrl-C ended may have sent standard output elsewhere
  put_back >&3
  rm -rf -- "$scratch"
}

set_up_worker() { # ARGUMENT…
  local steps=7
  called_with=("$@")
  worker_options "$@"
  ((cpu == 0)) || steps=6
  cd -- "$project" || exit
  export LC_ALL=C # the order of files must not depend on who runs this
  [[ $project != *:* ]] || fail "the folder $project has a colon in its name, which Docker's -v cannot take." "Rename it."
  shopt -s nullglob globstar
  scratch=$(mktemp -d)
  exec 3>&1
  trap leave EXIT

  step "1/$steps" "Docker and this host"
  check_docker
  check_architecture
  choose_settings
  look_over_settings
  ((start == 0)) || check_port
  local at=2
  if ((cpu == 0)); then
    step "2/$steps" "Card, driver, HailoRT's packages"
    check_card
    check_packages
    at=3
  fi
  [[ -z $host_python ]] || ask_about_change

  step "$at/$steps" "Image"
  name_images
  ((cpu)) || build_base
  build_worker "$slim" none
  look_over_settings_inside
  ask_about_change

  step "$((at + 1))/$steps" "Models"
  card_arguments
  ((cpu)) || find_chip
  ask_about_library
  provide_models

  step "$((at + 2))/$steps" "Image with the models"
  local models
  mapfile -t models < <(models_there)
  build_worker "$worker" baked ${models[@]+"${models[@]}"}

  step "$((at + 3))/$steps" "Container"
  start_container
  if ((start)); then
    ((dry)) || note_settings "$wanted_settings"
    wait_until_ready
    step "$((at + 4))/$steps" "Test"
    test_worker
  fi
  closing_words
}
