#!/usr/bin/env bash
# A part of setup.sh: HailoRT's two packages in hailo-rt-4/. Library, Python wheel and driver must be of
# one version, to the last number; nobody but Hailo hands the packages out.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

check_packages() { # needs driver, deb_arch, whl_arch; sets deb and whl
  deb=hailo-rt-4/hailort_${driver}_$deb_arch.deb
  whl=hailo-rt-4/hailort-$driver-cp312-cp312-linux_$whl_arch.whl
  local wrong=()
  look_at "$deb" '!<arch>' "a Debian package" hailo-rt-4/*.deb
  look_at "$whl" 'PK' "a Python wheel" hailo-rt-4/*.whl
  if ((${#wrong[@]})); then
    fail "HailoRT $driver, the driver's version, is not complete in $project/hailo-rt-4." "${wrong[@]}" "" \
      "From the Hailo Developer Zone (https://hailo.ai/developer-zone/, an account is free): AI Software Suite," \
      "HailoRT, version $driver, $whl_arch, Linux, Python 3.12. These two files, under these names:" \
      "    ${deb##*/}" "    ${whl##*/}" \
      "If $driver is no longer offered there, install another driver of branch 4 on the host and take its version."
  fi
  say "${deb##*/}" && say "${whl##*/}"
}

look_at() { # FILE BEGINNING KIND [CANDIDATE…]: adds to wrong what stands in the way
  local file=$1 beginning=$2 kind=$3 candidate
  shift 3
  if [[ -f $file ]]; then
    local start
    start=$(head -c ${#beginning} -- "$file" | tr -d '\0') || true
    [[ $start == "$beginning" ]] ||
      wrong+=("${file##*/} is not $kind: a page or a part of the file was saved. Download it again.")
    return
  fi
  wrong+=("missing: ${file##*/}")
  for candidate; do
    [[ ! -f $candidate ]] || wrong+=("    ${candidate##*/} is there instead: $(what_differs "${candidate##*/}")")
  done
}

what_differs() { # NAME of a .deb or .whl: why it will not do, in words
  local name=$1 words=()
  case $name in
    hailort-pcie-driver* | hailo-dkms*) words+=("the driver for the host, not the library") ;;
    hailort*) ;;
    *) words+=("another package") ;;
  esac
  if [[ $name =~ ^hailort[-_]([0-9]+\.[0-9]+\.[0-9]+) && ${BASH_REMATCH[1]} != "$driver" ]]; then
    words+=("version ${BASH_REMATCH[1]}, the driver is $driver")
  fi
  if [[ $name =~ -cp3([0-9]+)-cp3 && ${BASH_REMATCH[1]} != 12 ]]; then
    words+=("for Python 3.${BASH_REMATCH[1]}, the image has 3.12")
  fi
  case $name in
    *amd64.deb | *x86_64.whl) [[ $whl_arch == x86_64 ]] || words+=("for x86_64, this machine is $whl_arch") ;;
    *arm64.deb | *aarch64.whl) [[ $whl_arch == aarch64 ]] || words+=("for aarch64, this machine is $whl_arch") ;;
  esac
  ((${#words[@]})) || words=("another name; rename it if it is the right file")
  local text
  printf -v text '%s; ' "${words[@]}"
  printf '%s' "${text%; }"
}
