#!/usr/bin/env bash
# Sets the worker up, in a container or in this folder, and serves or tests it. See usage below, or the README.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=$project/.venv
python_min=10 python_max=13 # Python 3.x

usage() {
  cat <<'END'
Usage: ./setup.sh [OPTION…]                from a bare host to a running container for Immich
       ./setup.sh serve [--cpu]            without Docker: set up what is missing, fetch models, serve on port 3003
       ./setup.sh test [--full] [ARG…]     set up what is missing, run all checks and tests
       ./setup.sh --help                   print this

Without a command it checks Docker, card, driver and HailoRT's packages, builds the images, fetches models,
starts the container immich-ml-hailo, tests it, and says what to type into Immich. It asks before it
changes anything, can be run again at any time, and touches no container that it did not make.
  --cpu                    on the processor; needs neither a card nor HailoRT's packages
  --clip-backend NAME      tinyclip (the default), siglip, siglip2 or auto, which loads all of them
  --chip NAME              hailo8 or hailo8l, where the card cannot be asked
  --yes                    yes to every question
  --dry-run                change nothing, print each command that would be run
  --no-start               build the images and stop there
  --missing-ok             go on although model files are missing; their tasks are off
The worker's settings are environment variables, as in: FACE_DETECTOR=scrfd_10g IMMICH_PORT=3004 ./setup.sh
They are kept the next time (in .setup-settings, should the container be gone); FACE_DETECTOR= (empty) goes back to the default.

serve   Settings are environment variables, as in: MODELS_DIR=/data/models ./setup.sh serve
        --cpu is short for ENGINE=cpu. Packages land in .venv, models in models/; deleting them undoes it.
        PYTHON=/path/to/python3.12 chooses the Python.
test    --full adds the heavy references (PyTorch). ARG… go to pytest, as in: ./setup.sh test -k ocr
END
}

# ------------------------------------------------------------------- words

step() { printf '\n[%s] %s\n' "$1" "$2"; }
say() { printf '    %s\n' "$*"; }
fail() { # a line on what went wrong, then lines with the remedy
  printf '\nsetup.sh: %s\n' "$1" >&2
  shift
  local line
  for line; do printf '    %s\n' "$(with_sudo "$line")" >&2; done
  exit 1
}
with_sudo() { # LINE: for who has come by sudo, the calls of this script in it with sudo, and settings where it lets them through
  local rest=$1 front settings
  if [[ -z ${SUDO_USER-} ]]; then
    printf '%s' "$rest"
    return
  fi
  while [[ $rest == *./setup.sh* ]]; do
    front=${rest%%./setup.sh*} rest=${rest#*./setup.sh}
    [[ $front =~ ([A-Z_]+=[^ ]* |env( -u [A-Z_]+)+ )*$ ]]
    settings=${BASH_REMATCH[0]} front=${front%"${BASH_REMATCH[0]}"}
    printf '%ssudo %s./setup.sh' "${front%sudo }" "$settings"
  done
  printf '%s' "$rest"
}

# ------------------------------------------------------------------ Python

minor_of() { "$1" -c 'import sys; v = sys.version_info; print(v[1] if v[0] == 3 else 0)' 2>/dev/null || echo none; }
fits() { [[ $1 != none ]] && (($1 >= python_min && $1 <= python_max)); }

can_install() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }
apt_install() {
  say "installing $* (apt-get)"
  apt-get update -qq || say "apt-get update failed; trying with the package lists there are"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    fail "apt-get could not install $*." "Read its words above, then run: apt-get install $*"
}

find_python() { # sets python and minor
  local found='' candidate
  local wanted="Python 3.$python_min to 3.$python_max"
  if [[ -n ${PYTHON-} ]]; then
    python=$PYTHON minor=$(minor_of "$PYTHON")
    fits "$minor" || fail "PYTHON=$PYTHON is not $wanted." "Leave PYTHON out, or point it at another one."
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    minor=$(minor_of "$candidate")
    if fits "$minor"; then
      python=$candidate
      return
    fi
    [[ $minor == none ]] || found=${found:-3.$minor}
  done
  if [[ -z $found ]]; then
    can_install || fail "there is no python3 here." "Run: sudo apt-get install python3 python3-venv" "then this again."
    apt_install python3 python3-venv
    python=python3 minor=$(minor_of python3)
    if fits "$minor"; then return; fi
    [[ $minor != none ]] || fail "apt-get brought no python3 that runs." "Run: python3 --version, and mend what it says."
    found=3.$minor
  fi
  fail "the Python here is $found; the worker needs $wanted." \
    "Install one of these beside it, and name it: PYTHON=/path/to/python3.12 ./setup.sh $command" \
    "(Debian 12 and newer, Ubuntu 22.04 and newer have one: apt-get install python3 python3-venv)"
}

# ------------------------------------------------------- virtual environment

venv_works() {
  [[ -f $venv/pyvenv.cfg && $(minor_of "$venv/bin/python") == "$minor" ]] &&
    "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

make_venv() {
  if venv_works; then
    say "using $venv"
    return
  fi
  if [[ -e $venv ]]; then
    [[ -f $venv/pyvenv.cfg || -z $(ls -A "$venv" 2>/dev/null) ]] ||
      fail "$venv is not a virtual environment." "Move it away, then run this again."
    say "$venv is broken or of another Python; making it anew"
    rm -rf -- "$venv"
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    local package=python3.$minor-venv
    can_install || fail "this Python has no venv module." "Run: sudo apt-get install $package" "then this again."
    apt_install "$package"
  fi
  say "making $venv"
  local words
  if ! words=$("$python" -m venv "$venv" 2>&1); then
    rm -rf -- "$venv"
    case $words in
      *'No space left'*) no_space ;;
      *) fail "the virtual environment could not be made:" "$words" ;;
    esac
  fi
}

# ---------------------------------------------------------------- packages

no_space() { fail "no space left on the disk that holds $project." "Free some (df -h tells how much there is), then run this again: it goes on where it stopped."; }

need_space() { # MEGABYTES
  local free
  free=$(df -Pk -- "$project" | awk 'NR == 2 { print int($4 / 1024) }')
  ((free >= $1)) || fail "the packages need about $1 MB, and there are $free MB free for $project." "Free some space, then run this again."
}

# What the environment holds: a hash of everything that decides about its packages, then which set it is.
stamp=$venv/set-up
state() {
  {
    "$venv/bin/python" -VV
    pwd -P
    cat pyproject.toml tests/requirements-nodeps.txt
  } | sha256sum | cut -c -64
}
has_set() { # SET: is it there, or a larger one
  local held set
  [[ -f $stamp ]] && read -r held set <"$stamp" && [[ $held == "$(state)" ]] || return 1
  case $1:$set in
    cpu:* | dev:dev | dev:full | full:full) return 0 ;;
    *) return 1 ;;
  esac
}

pip_install() {
  local log=$venv/pip.log
  rm -f -- "$log"
  if "$venv/bin/python" -m pip install --disable-pip-version-check --log "$log" "$@"; then return; fi
  local words
  words=$(tail -n 400 "$log" 2>/dev/null || true)
  case $words in
    *'No space left'* | *'Errno 28'*) no_space ;;
    *'Temporary failure in name resolution'* | *'Name or service not known'* | *'Network is unreachable'* | \
      *'Failed to establish a new connection'* | *'Connection refused'* | *'timed out'* | *'ProxyError'* | *'Max retries exceeded'*)
      fail "the packages could not be downloaded: no connection to the package index." \
        "Check the network, and the proxy (HTTPS_PROXY) if there is one, then run this again." \
        "With a mirror of your own, set it up for pip once (pip help config); this script uses your pip's settings." ;;
    *'CERTIFICATE_VERIFY_FAILED'*)
      fail "the package index's certificate is not trusted here." \
        "Run: apt-get install ca-certificates; behind an inspecting proxy, tell pip its certificate (pip help config: cert)." ;;
    *'No matching distribution found'* | *'ResolutionImpossible'*)
      fail "pip finds no fitting package for this machine ($(uname -m), Python 3.$minor)." \
        "Its words stand above. Another Python often helps: PYTHON=/path/to/python3.12 ./setup.sh $command" ;;
    *) fail "pip failed; its words stand above, all of them in $log." "Run this again; if it stays, report it with that file." ;;
  esac
}

install_packages() { # SET MEGABYTES
  if has_set "$1"; then
    say "already there"
    return
  fi
  need_space "$2"
  say "downloading and installing, about $2 MB on disk"
  [[ $1 != full ]] || say "(PyTorch brings CUDA, several GB more, unless your pip is set up for its CPU build)"
  rm -f -- "$stamp"
  pip_install --editable ".[$1]"
  [[ $1 == cpu ]] || pip_install --no-deps -r tests/requirements-nodeps.txt
  printf '%s %s\n' "$(state)" "$1" >"$stamp"
}

# ---------------------------------------------------------------- commands

set_up() { # SET MEGABYTES STEPS
  step "1/$3" "Python"
  find_python
  say "$("$python" -VV 2>&1 | head -n 1) ($(command -v "$python"))"
  [[ $command != serve ]] || check_settings
  step "2/$3" "Virtual environment"
  make_venv
  step "3/$3" "Packages"
  (cd -- "$project" && install_packages "$1" "$2")
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

failed=()
run_check() { # NAME COMMAND…
  printf '\n--- %s\n' "$1"
  "${@:2}" || failed+=("$1")
}
shell_files() { grep -lE '^#! ?/.*\b(ba)?sh\b' setup.sh .ci/* scripts/* tests/*.sh tests/support/*.sh 2>/dev/null; }
check_shell() {
  local files
  mapfile -t files < <(shell_files)
  "$venv/bin/shellcheck" "${files[@]}" && say "${#files[@]} files"
}
check_dockerfiles() { "$venv/bin/hadolint" Dockerfile.* && say Dockerfile.*; }

test_all() {
  local set=dev megabytes=1000
  if [[ ${1-} == --full ]]; then
    set=full megabytes=2000
    shift
  fi
  set_up "$set" "$megabytes" 4
  step 4/4 "Checks and tests"
  cd -- "$project"
  run_check "ruff check" "$venv/bin/python" -m ruff check
  run_check "ruff format" "$venv/bin/python" -m ruff format --check
  run_check "mypy" "$venv/bin/python" -m mypy
  run_check "shellcheck" check_shell
  run_check "hadolint" check_dockerfiles
  run_check "pytest" "$venv/bin/python" -m pytest "$@"
  local list
  printf -v list '%s, ' ${failed[@]+"${failed[@]}"}
  ((${#failed[@]} == 0)) || fail "failed: ${list%, }" "Their words stand above."
  printf '\nAll checks and tests passed.\n'
}

command=${1-}
case $command in
  serve) shift && serve "$@" ;;
  test) shift && test_all "$@" ;;
  -h | --help | help) usage ;;
  '' | -*)
    for part in worker host packages images models settings container proof; do
      # shellcheck source=/dev/null
      source "$project/scripts/setup_$part.sh"
    done
    set_up_worker "$@"
    ;;
  *)
    usage >&2
    fail "there is no command '$command'."
    ;;
esac
