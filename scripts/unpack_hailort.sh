#!/usr/bin/env bash
# Unpacks HailoRT's run-time part for an image; Dockerfile.hailo-base runs it inside the build.
#
#   unpack_hailort.sh FROM TO VERSION PYTHON [DEB_ARCH [WHL_ARCH]]
#
# FROM     the folder with hailort_VERSION_ARCH.deb and the wheel hailort-VERSION-cp3XX-cp3XX-linux_ARCH.whl
# TO       gets usr/lib/libhailort.so.VERSION, usr/bin/hailortcli if the package has it, and the wheel
# PYTHON   as in 3.12
# *_ARCH   amd64 or arm64, x86_64 or aarch64; this system's when left out
#
# The package is not installed: its scripts expect a running systemd and a kernel to build a driver for.
set -euo pipefail

fail() { # lines: what is wrong, then what to do
  printf '\nHailoRT cannot be put into the image: %s\n' "$1" >&2
  shift
  printf '    %s\n' "$@" >&2
  exit 1
}

from=$1 to=$2 version=$3 python=$4 deb_arch=${5-} whl_arch=${6-}
where="Hailo Developer Zone (hailo.ai, free account) -> Software Downloads -> AI Software Suite -> HailoRT"

# ------------------------------------------------------------- what is wanted

[[ $version =~ ^4\.[0-9]+\.[0-9]+$ ]] || fail "HAILORT_VERSION=$version is no version of HailoRT 4." \
  "It is that of the driver on the host, as in --build-arg HAILORT_VERSION=4.23.0;" \
  "cat /sys/module/hailo_pci/version tells it. HailoRT 5 does not drive a Hailo-8."

system=$(dpkg --print-architecture)
declare -A machine=([amd64]=x86_64 [arm64]=aarch64)
[[ -n ${machine[$system]-} ]] || fail "HailoRT is made for amd64 and arm64, and this image is for $system." \
  "Build with --platform linux/amd64 or --platform linux/arm64."
if [[ -z $deb_arch ]]; then
  deb_arch=$system
  for known in "${!machine[@]}"; do
    [[ ${machine[$known]} != "$whl_arch" ]] || deb_arch=$known
  done
fi
[[ -n ${machine[$deb_arch]-} ]] || fail "DEB_ARCH=$deb_arch is neither amd64 nor arm64." \
  "Leave DEB_ARCH and WHL_ARCH out: both follow the image."
[[ -n $whl_arch ]] || whl_arch=${machine[$deb_arch]}
[[ $whl_arch == "${machine[$deb_arch]}" ]] || fail "DEB_ARCH=$deb_arch and WHL_ARCH=$whl_arch do not go together." \
  "amd64 goes with x86_64, arm64 with aarch64. Leave both out: they follow the image."
[[ $deb_arch == "$system" ]] || fail "DEB_ARCH=$deb_arch is asked for, and this image is for $system." \
  "To build for another machine, name it for both images: docker build --platform linux/$deb_arch ..." \
  "(it needs QEMU's handlers on this host: apt-get install qemu-user-static binfmt-support)." \
  "For this machine, leave DEB_ARCH and WHL_ARCH out."

# -------------------------------------------------------------- what is there

tag=cp${python/./}
deb=hailort_${version}_$deb_arch.deb
whl=hailort-$version-$tag-$tag-linux_$whl_arch.whl
any=hailort-$version-py3-none-any.whl # fits every Python
[[ -f $from/$whl || ! -f $from/$any ]] || whl=$any

missing=()
for file in "$deb" "$whl"; do
  [[ -f $from/$file ]] || missing+=("hailo-rt-4/$file")
done
if ((${#missing[@]})); then
  shopt -s nullglob
  held=("$from"/*.deb "$from"/*.whl)
  advice=("Get it from the $where: version $version, $whl_arch, Linux, Python $python,"
    "and put it into hailo-rt-4/ under that name.")
  if ((${#held[@]})); then
    advice+=("There are: ${held[*]##*/}."
      "Is one of those versions the driver's (cat /sys/module/hailo_pci/version)? Then --build-arg HAILORT_VERSION=...")
  fi
  printf -v names '%s and ' "${missing[@]}"
  fail "missing: ${names% and }" "${advice[@]}"
fi

size() { stat -c '%s bytes' "$from/$1"; }
field() { dpkg-deb --field "$from/$deb" "$1"; }
said=$(field Version) || fail "hailo-rt-4/$deb is no Debian package ($(size "$deb"))." \
  "The download was cut short, or a web page was saved in its place. Get it again: $where."
[[ $said == "$version" || $said == "$version"[-+~]* ]] || fail "hailo-rt-4/$deb holds version $said." \
  "Give it back its own name, and get the package of version $version: $where."
said=$(field Architecture)
[[ $said == "$deb_arch" || $said == all ]] || fail "hailo-rt-4/$deb is made for $said." \
  "Give it back its own name, and get the one for $deb_arch: $where."

# ------------------------------------------------------------------ unpacking

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
dpkg-deb --extract "$from/$deb" "$work/deb" || fail "hailo-rt-4/$deb is damaged ($(size "$deb"))." \
  "Get it again: $where."
library=$(find "$work/deb" -type f -name "libhailort.so.$version" -print -quit)
[[ -n $library ]] || fail "hailo-rt-4/$deb holds no libhailort.so.$version." \
  "The driver and the TAPPAS packages have similar names: get the one called HailoRT: $where."
"python$python" -m zipfile --list "$from/$whl" >"$work/list" 2>&1 ||
  fail "hailo-rt-4/$whl is no Python wheel ($(size "$whl"))." \
    "The download was cut short, or a web page was saved in its place. Get it again: $where."
grep -q '^hailo_platform/' "$work/list" || fail "hailo-rt-4/$whl holds no hailo_platform." \
  "Get the wheel called HailoRT: $where."

install -D -m 644 "$library" "$to/usr/lib/${library##*/}"
cli=$(find "$work/deb" -type f -name hailortcli -print -quit)
[[ -z $cli ]] || install -D -m 755 "$cli" "$to/usr/bin/hailortcli"
install -m 644 "$from/$whl" "$to/$whl"
echo "HailoRT $version for $whl_arch, Python $python: $deb, $whl"
