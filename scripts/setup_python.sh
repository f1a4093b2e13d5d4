#!/usr/bin/env bash
# A part of setup.sh: a Python that fits, the virtual environment .venv, and the packages in it.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

venv=$project/.venv
python_min=10 python_max=13 # Python 3.x

set_up() { # SET MEGABYTES STEPS
  step "1/$3" "Python"
  find_python
  say "$("$python" -VV 2>&1 | head -n 1) ($(command -v "$python"))"
  if [[ $command == serve ]]; then
    ask_about_library
    check_settings
  fi
  step "2/$3" "Virtual environment"
  make_venv
  step "3/$3" "Packages"
  "$venv/bin/python" "$project/scripts/install_packages.py" "$1" "$2" "$command" || exit
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
    [[ $minor != none ]] || fail "apt-get brought no python3 that runs." "Run: python3 --version, and fix what it reports."
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
    say "$venv is broken or of another Python; making it again"
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
      *'No space left'*) fail "no space left on the disk that holds $project." "Free some (df -h tells how much there is), then run this again." ;;
      *) fail "the virtual environment could not be made:" "$words" ;;
    esac
  fi
}
