#!/usr/bin/env bash
# A part of setup.sh: the checks and the tests, the fast ones, or with --full all of them.
# shellcheck disable=SC2154  # the parts share their variables

test_worker_code() { # [--full] [ARG…]
  if [[ ${1-} == --full ]]; then set_up full 2000 4; else set_up dev 1000 4; fi
  step 4/4 "Checks and tests"
  exec "$venv/bin/python" "$project/scripts/run_checks.py" "$@"
}
