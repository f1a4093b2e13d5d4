#!/usr/bin/env bash
# A part of setup.sh: which chip the card has, and the model files for it. Both are asked of the worker's own
# commands inside the image, as hosts such as Unraid have no Python.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

# What every container of this script has, as compose.yaml has it: nothing can be written but /tmp, no right is had, and
# none can be gained. /tmp is a volume and no tmpfs: below a read-only root, docker cp puts files into volumes alone.
confined=(--read-only -v /tmp --cap-drop all --security-opt no-new-privileges --pids-limit 4096)
# Of pip's own settings those that hold no path of this host.
pip_settings=(PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_NO_INDEX PIP_PROXY PIP_RETRIES PIP_TIMEOUT)

card_arguments() { # sets card: what lets a container use the card; and which: that and the name of the one in question
  local name
  card=()
  if ((cpu == 0)); then
    for name in "${nodes[@]}"; do card+=("--device=$name:$name"); done
    for name in "${node_groups[@]}"; do card+=("--group-add=$name"); done
  fi
  which=(${card[@]+"${card[@]}"})
  name=$(chosen HAILO_DEVICE_IDS)
  [[ -z $name ]] || which+=(-e "HAILO_DEVICE_IDS=$name")
}

find_chip() { # sets chip, unless --chip has
  if [[ -n $chip ]]; then
    say "$chip, as told with --chip"
    return
  fi
  local call=(docker run --rm "${which[@]}" "${confined[@]}" --entrypoint python3 "$slim" -m ml_target doctor --chip)
  if ((dry)); then
    show "${call[@]}"
    chip=CHIP
    say "(CHIP below stands for its answer, hailo8 or hailo8l)"
    return
  fi
  chip=$("${call[@]}") || true
  [[ $chip =~ ^hailo[0-9]+[a-z]*$ ]] || fail "the card does not say what it is." \
    "What stands above says why, and the remedy. Look for a program that holds the card, and at: dmesg | grep hailo" \
    "To go on all the same: ./setup.sh --chip hailo8 (or hailo8l)"
  say "the card is a $chip"
}

provide_models() {
  local call wanted missing name
  store_call
  if ((dry)); then
    show "${call[@]}" missing "${wanted[@]}"
    say "and if it lists any:"
    show "${call[@]}" fetch "${wanted[@]}"
    return
  fi
  missing=$("${call[@]}" missing "${wanted[@]}" 2>"$scratch/store.log") || {
    cat -- "$scratch/store.log" >&2
    fail "the model files could not be looked at." "What stands above says why. Then run this again."
  }
  if [[ -z $missing ]]; then
    say "all there for $backend"
    return
  fi
  say "Wanted for $backend:"
  while IFS= read -r name; do say "  $name"; done <<<"$missing"
  [[ $missing != *' is there but cannot be used: '* ]] ||
    fail "files in $project/models cannot be used; the lines above say which and why." \
      "Delete those, then run this again: they are fetched anew. (/app/models there is that folder here.)"
  fetch_models
}

store_call() { # sets call, the store's command inside the image, and wanted, what is asked of it
  local terminal=() name engine=hailo
  ((cpu)) && engine=cpu
  wanted=(--engine "$engine")
  ((cpu)) || wanted+=(--chip "$chip" --baked) # a restart is then enough to change
  # As the folder's owner; its own network, so that mirrors on this host can be reached.
  call=(docker run --rm --network host "${confined[@]}" --user "$(folder_owner)" -e HOME=/tmp -v "$project/models:/app/models")
  for name in "${settings[@]}"; do call+=(-e "$name"); done
  for name in HF_ENDPOINT "${proxies[@]}" "${pip_settings[@]}"; do
    [[ -z ${!name-} ]] || call+=(-e "$name")
  done
  if [[ -d ${MODELS_MIRROR-} ]]; then
    call+=(-v "$(cd -- "$MODELS_MIRROR" && pwd -P):/mirror:ro" -e MODELS_MIRROR=/mirror)
  elif [[ -n ${MODELS_MIRROR-} ]]; then
    call+=(-e MODELS_MIRROR)
  fi
  call+=(--entrypoint python3 "$slim" -m ml_target models)
}

folder_owner() { # the user to write models/ as: its owner, which in rootless Docker is the container's root
  if [[ $(id -u) != 0 && $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *rootless* ]]; then
    echo 0:0
  else
    stat -c %u:%g -- models
  fi
}

fetch_models() {
  say "They come from the Hailo Model Zoo, Hugging Face and Python packages, each under a licence of its own:"
  say "docs/models.md lists them. Those for faces are for non-commercial research only."
  confirm "Fetch them now?" || {
    ((missing_ok)) || fail "without them their tasks would be off." \
      "Put the files into $project/models, or name a folder or address that has them: MODELS_MIRROR=… ./setup.sh" \
      "To go on without: ./setup.sh --missing-ok"
    incomplete=1
    return
  }
  check_space 1500 "$project/models" "the models"
  if [[ -t 0 && -t 1 ]]; then call=("${call[@]:0:2}" -it "${call[@]:2}"); fi
  if "${call[@]}" fetch "${wanted[@]}"; then return; fi
  ((missing_ok)) || fail "not all models could be fetched; what stands above says which and why." \
    "Run this again: it goes on where it stopped. (/app/models there is $project/models here.)" \
    "Closed networks: name a folder or an address, MODELS_MIRROR=… ./setup.sh (docs/settings.md, Model files)." \
    "To go on without them, their tasks off: ./setup.sh --missing-ok"
  incomplete=1
  say "not all models could be fetched; going on without them"
}
