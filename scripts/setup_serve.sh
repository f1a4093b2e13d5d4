#!/usr/bin/env bash
# A part of setup.sh: the worker without Docker, from .venv.
# shellcheck disable=SC2154  # the parts share their variables

ask_about_library() { # once, on a terminal; sets what was answered, now or before
  local said lines line code=0
  said=$(PYTHONPATH=$project PYTHONDONTWRITEBYTECODE=1 "$python" -m ml_target.setup.serve) || code=$?
  mapfile -t lines <<<"$said"
  if ((code)); then
    ((code != 130)) || exit "$code" # Ctrl-C
    [[ -n $said ]] || lines=("this Python cannot run the project's own code; its output is above."
      "Fix what it reports; on Debian and Ubuntu python3-minimal is too little: sudo apt-get install python3")
    fail "${lines[@]}"
  fi
  for line in "${lines[@]}"; do [[ -z $line ]] || export "${line?}"; done
}

check_settings() { # they need no package, so a slip is told before any is fetched
  local words line code=0
  words=$(PYTHONPATH=$project PYTHONDONTWRITEBYTECODE=1 "$python" -m ml_target.diagnostics.settings 2>&1) || code=$?
  while IFS= read -r line; do [[ -z $line ]] || say "$line"; done <<<"$words"
  ((code == 0)) || fail "a setting is not right; the line above says which, and what it takes." \
    "Settings are environment variables: CLIP_BACKEND=siglip ./setup.sh serve (docs/settings.md lists them)."
}

serve() {
  while (($#)); do
    case $1 in
      --cpu) export ENGINE=cpu ;;
      *) fail "serve does not know '$1'." "Settings are environment variables: CLIP_BACKEND=siglip ./setup.sh serve" ;;
    esac
    shift
  done
  set_up cpu 500 4
  step 4/4 "Models"
  "$venv/bin/python" -m ml_target models fetch --best-effort ||
    say "not all models could be fetched; the worker says which tasks are off and why"
  printf '\n'
  exec "$venv/bin/python" -m ml_target serve
}
