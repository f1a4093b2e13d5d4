#!/usr/bin/env bash
# A part of setup.sh: does anything listen on the port, does the container answer, does it answer right, and what to type into Immich.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

pause_s=${SETUP_PAUSE_S:-1} say_s=${SETUP_SAY_S:-5} # between two looks, and between two words about it; shorter in tests

# ------------------------------------------------------------------- ready

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

answers() ( # does the worker answer its ping on the host's port
  # In a process of its own: until the worker listens, Docker takes a connection and drops it at once, which is
  # SIGPIPE for whoever writes to it.
  trap '' PIPE
  answer=''
  {
    exec {line}<>"/dev/tcp/127.0.0.1/$port" || exit 1
    printf 'GET /ping HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&"$line"
    read -r -d '' -t 5 -u "$line" answer || true
    exec {line}>&-
  } 2>/dev/null
  [[ $answer == *' 200 '*pong* ]]
)

wait_until_ready() {
  local status restarts restarts_before='' since=$SECONDS said=$SECONDS
  if ((dry)); then
    say "(then it waits until http://127.0.0.1:$port/ping answers)"
    return
  fi
  until answers; do
    read -r status restarts < <(docker inspect --type container --format '{{.State.Status}} {{.RestartCount}}' "$container") ||
      status=gone
    restarts_before=${restarts_before:-$restarts}
    [[ $status == running && $restarts == "$restarts_before" ]] || died
    ((SECONDS - since < ready_s)) || never_ready
    if ((SECONDS - said >= say_s)); then
      said=$SECONDS
      say "not ready yet, $((SECONDS - since)) s"
    fi
    sleep "$pause_s"
  done
  say "ready, /ping answers on port $port"
}

last_words() {
  printf '\n--- the last lines of docker logs %s\n' "$container" >&2
  docker logs --tail 20 "$container" >&2 2>&1 || true
}

died() { # it would be started over and over again
  docker stop "$container" >/dev/null 2>&1 || true
  last_words
  fail "the worker ended by itself; its last lines stand above." "Do what they say, then run this again." \
    "The container is stopped and kept for you to look at: docker logs $container" "$(doctor_line)"
}

never_ready() {
  last_words
  fail "the worker runs, but does not answer on port $port within $ready_s s; its last lines stand above." \
    "If they say that it is ready, something between keeps the port: docker port $container, and the firewall's rules." \
    "Otherwise do what they say, or give it more time: SETUP_READY_S=900 ./setup.sh" "$(doctor_line)"
}

doctor_line() {
  if ((cpu)); then
    echo "What it has: docker run --rm ${confined[*]} --entrypoint python3 $worker -m ml_target models"
  else
    echo "What the card says: docker run --rm ${which[*]} ${confined[*]} --entrypoint python3 $worker -m ml_target doctor --open"
  fi
}

# -------------------------------------------------------------------- test

test_worker() {
  local call=(docker exec "$container" bash /app/tests/test.sh)
  ((missing_ok)) || call+=(--expect-all)
  call+=(/app/tests/test.jpg)
  if ((dry)); then
    show "${call[@]}"
  elif ! "${call[@]}"; then
    last_words
    fail "the worker runs, but tests/test.sh found something wrong." \
      "Its lines that begin with 'not ok' stand above, and the worker's own after them." "$(doctor_line)" \
      "Until this passes, do not let Immich use it: what it answers would be stored."
  fi
}

# ------------------------------------------------------------------- words

host_address() { # the address of this host in its network: the one beside the default route
  local interface destination gateway mask number address routes=() last='' first=''
  while read -r interface destination gateway _ _ _ _ mask _; do
    if [[ $destination == 00000000 && -z $first ]]; then first=$interface; fi
    [[ $gateway != 00000000 ]] || routes+=("$interface $destination $mask")
  done < <(tail -n +2 "$root/proc/net/route" 2>/dev/null)
  while read -r interface address number; do
    case "$interface $address $number" in
      '|-- '*) last=$address ;;
      '/32 host LOCAL'*) ! beside "$last" || { printf '%s' "$last"; return; } ;;
    esac
  done < <(cat "$root/proc/net/fib_trie" 2>/dev/null)
  first_line "$root/proc/sys/kernel/hostname"
}

beside() { # ADDRESS: is it in a network of the interface with the default route
  local route interface destination mask a b c d little
  IFS=. read -r a b c d <<<"$1"
  little=$((d << 24 | c << 16 | b << 8 | a)) # as /proc/net/route has it
  for route in ${routes[@]+"${routes[@]}"}; do
    read -r interface destination mask <<<"$route"
    [[ $interface != "$first" ]] || (((little & 16#$mask) != 16#$destination)) || return 0
  done
  return 1
}

immich_names() { # the name to choose in Immich, and what to know about it: the worker's own code has them
  local call words line
  worker_python
  call+=(-m ml_target.diagnostics.names)
  if ((dry)) && [[ -z $host_python ]]; then
    say "CLIP model  what the image says:"
    show "${call[@]}"
    return
  fi
  [[ ! $chip =~ ^hailo ]] || call+=(--chip "$chip")
  words=$("${call[@]}" 2>&1) || words="CLIP model  cannot be told: $words"
  while IFS= read -r line; do say "$line"; done <<<"$words"
}

closing_words() {
  local address
  address=$(host_address)
  printf '\n'
  if ((dry)); then
    printf 'Nothing was changed. The worker would then be found here:\n\n'
  elif ((start == 0)); then
    printf 'The image %s is ready. When it has been started:\n\n' "$worker"
  else
    printf 'The worker is ready, and tests/test.sh has passed.\n\n'
  fi
  say "In Immich, Administration → Settings → Machine Learning Settings:"
  say "URL         http://${address:-THIS-HOST}:$port"
  immich_names
  say "            Coming from another model or worker: README, What switching costs."
  printf '\n'
  say "Its log:    docker logs -f $container"
  say "Its state:  http://${address:-THIS-HOST}:$port/status"
  ((incomplete == 0)) || say "            Model files are missing, and their tasks are OFF: it says which and why."
  ((cpu)) || say "The card against the processor: docker exec $container python3 -m ml_target selfcheck"
  ((cpu)) || say "Card, driver, link, files:      docker exec $container python3 -m ml_target doctor"
}
