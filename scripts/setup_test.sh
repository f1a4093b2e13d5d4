#!/usr/bin/env bash
# A part of setup.sh: the checks, all at once, and then the tests; the fast ones, or with --full all of them.
# shellcheck disable=SC2154  # the parts share their variables

checks=() failed=()

test_worker_code() { # [--full] [ARG…]
  local set=dev megabytes=1000 which=(-m "not slow") processes list
  if [[ ${1-} == --full ]]; then
    set=full megabytes=2000 which=()
    shift
  fi
  set_up "$set" "$megabytes" 4
  step 4/4 "Checks and tests"
  cd -- "$project" || exit
  scratch=$(mktemp -d)
  trap leave_tests EXIT
  start_check "ruff check" "$venv/bin/python" -m ruff check
  start_check "ruff format" "$venv/bin/python" -m ruff format --check
  start_check "mypy" "$venv/bin/python" -m mypy
  start_check "shellcheck" check_shell
  start_check "hadolint" check_dockerfiles
  finish_checks
  printf '\n--- pytest\n'
  # Each file has one process, those that build images share one (tests/support/processes.py), and what takes longest
  # comes first (tests/conftest.py). Tests wait often: one process more than there are cores keeps these busy.
  processes=$(nproc 2>/dev/null || echo 1)
  processes=$((processes < 4 ? processes + 1 : 4))
  unset PYTHONDONTWRITEBYTECODE # or each process compiles all tests anew, in every run
  "$venv/bin/python" -m pytest -n "$processes" --dist loadfile --no-loadscope-reorder ${which[@]+"${which[@]}"} "$@" ||
    failed+=(pytest)
  printf -v list '%s, ' ${failed[@]+"${failed[@]}"}
  ((${#failed[@]} == 0)) || fail "failed: ${list%, }" "Their words stand above."
  if [[ $set == full ]]; then
    printf '\nAll checks and tests passed.\n'
  else
    printf '\nAll checks and the fast tests passed (./setup.sh test). With the slow ones, as CI has it: ./setup.sh test --full\n'
  fi
}

start_check() { # NAME COMMAND…
  "${@:2}" >"$scratch/$1" 2>&1 &
  checks+=("$!:$1")
}

finish_checks() { # prints each one's words, in their order
  local check
  for check in "${checks[@]}"; do
    wait "${check%%:*}" || failed+=("${check#*:}")
    printf '\n--- %s\n' "${check#*:}"
    cat -- "$scratch/${check#*:}"
  done
  checks=()
}

leave_tests() { # however it ends: Ctrl-C does not reach what runs beside
  local check
  for check in ${checks[@]+"${checks[@]}"}; do kill "${check%%:*}" 2>/dev/null || true; done
  rm -rf -- "$scratch"
}

shell_files() { grep -lE '^#! ?/.*\b(ba)?sh\b' setup.sh .ci/* scripts/* tests/*.sh tests/support/*.sh 2>/dev/null; }
check_shell() {
  local files
  mapfile -t files < <(shell_files)
  "$venv/bin/shellcheck" "${files[@]}" && say "${#files[@]} files"
}
check_dockerfiles() { "$venv/bin/hadolint" Dockerfile.* && say Dockerfile.*; }
