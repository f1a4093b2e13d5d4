#!/usr/bin/env bash
# A part of setup.sh: what Immich has stored already. Which settings keep it, and what a change of settings costs,
# the worker's own code knows.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

# ------------------------------------------------------------------ change

asked_about_change=0

ask_about_change() { # of what made the vectors in Immich's database, with what has to be run again there
  local call had words line
  if ((asked_about_change)) || [[ -z $before ]]; then return; fi
  read -ra had <<<"$before"
  worker_python
  call+=(-m ml_target.diagnostics.change "${had[@]}")
  if ((dry)) && [[ -z $host_python ]]; then
    show "${call[@]}"
    return
  fi
  asked_about_change=1
  words=$("${call[@]}") || fail "what the change of settings costs cannot be told; what stands above says why." \
    "Mend that, then run this again. To see what a change costs: docs/changing.md"
  [[ -n $words ]] || return 0
  while IFS= read -r line; do say "$line"; done <<<"$words"
  confirm "Change it?" || fail "stopped; the worker was not changed." "As it was: $(way_back)"
}

way_back() { # the call that keeps the settings as they were
  local name back=() options=()
  for name in SIGLIP_RESIZE FACE_RECOGNIZER; do
    [[ $(held "$name") == "$(chosen "$name")" ]] || back+=("$name=$(held "$name")") # empty is the default
  done
  [[ $(held CLIP_BACKEND) == "$backend" ]] || options+=(--clip-backend "$(held CLIP_BACKEND)")
  if [[ $(held ENGINE) == cpu ]]; then
    ((cpu)) || options+=(--cpu)
  elif ((cpu)) && [[ -n ${ENGINE-} ]]; then
    back+=(ENGINE=)
  fi
  local way=(${back[@]+"${back[@]}"} ./setup.sh ${options[@]+"${options[@]}"})
  printf '%s' "${way[*]}"
}

# ----------------------------------------------------------------- library

ask_about_library() { # where nobody has said which backend: sets backend and settings by what Immich has indexed
  local answer line call words proposed
  [[ -z $backend_told ]] || return 0
  if ((dry || yes)) || [[ ! -t 0 ]]; then
    say "Settings for a new library. Where Immich's own worker has indexed it, docs/changing.md has those that keep that."
    return
  fi
  say "Has Immich, with its own worker, indexed this library already? Then searches can stay, and people too."
  say "y: with its default model; n: no, or it was this worker; or type the CLIP model that its settings have."
  until
    read -r -p "    [n] " answer || fail "stopped; the worker was not changed." "To be asked nothing: ./setup.sh --clip-backend NAME"
    worker_python
    words=$("${call[@]}" -m ml_target.diagnostics.library ${chip:+--chip "$chip"} -- "$answer")
  do
    say "Once more, please."
  done
  proposed=${words%%$'\n'*}
  if [[ $words != "$proposed" ]]; then
    while IFS= read -r line; do say "$line"; done <<<"${words#*$'\n'}"
    confirm "Set it up with $proposed?" ||
      fail "stopped; the worker was not changed." "Choose yourself: CLIP_BACKEND=… FACE_RECOGNIZER=… ./setup.sh (docs/changing.md)"
  fi
  take_settings "$proposed"
}

take_settings() { # WORDS of NAME=VALUE: settings that were proposed; what somebody has set stays
  local word name kept
  for word in $1; do
    name=${word%%=*}
    if [[ $name == CLIP_BACKEND ]]; then
      backend=${word#*=}
      kept=("${settings[@]/#CLIP_BACKEND=*/$word}")
      settings=("${kept[@]}")
    elif [[ ! -v $name && -z $(chosen "$name") ]]; then
      settings+=("$word")
    fi
  done
}
