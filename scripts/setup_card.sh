#!/usr/bin/env bash
# A part of setup.sh: the card, its device nodes, its driver. The same trouble has the same words in
# ml_target/system/cards.py.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

oldest_minor=20 # of driver 4.x: below it HailoRT has no package for Python 3.12

find_cards() { # sets cards (addresses of Hailo-8 and 8L) and strangers (other Hailo chips)
  local folder
  cards=() strangers=()
  for folder in "$root"/sys/bus/pci/devices/*; do
    [[ $(first_line "$folder/vendor") == 0x1e60 ]] || continue
    if [[ $(first_line "$folder/device") == 0x2864 ]]; then
      cards+=("${folder##*/}")
    else
      strangers+=("${folder##*/}")
    fi
  done
}

check_card() { # sets driver, its version; nodes, and node_groups
  local node on_cpu="Without a card, on the processor: ./setup.sh --cpu"
  find_cards
  nodes=("$root"/dev/hailo[0-9]*)
  if ((${#cards[@]} == 0 && ${#nodes[@]} == 0)); then
    ((${#strangers[@]} == 0)) ||
      fail "there is a Hailo chip of another kind at ${strangers[0]}." \
        "This worker drives Hailo-8 and Hailo-8L: use such a card." "$on_cpu"
    fail "this machine has no Hailo card." "Seat the card and look at: lspci -d 1e60:" "$on_cpu"
  fi
  [[ -d $root/sys/module/hailo_pci ]] || driver_not_loaded
  check_driver_version
  check_driven
  ((${#nodes[@]})) || fail "there is no /dev/hailo0, though the driver is loaded." \
    "Load it again: sudo modprobe -r hailo_pci && sudo modprobe hailo_pci" "Then look at: dmesg | grep hailo"
  choose_nodes
  for node in "${nodes[@]}"; do check_node "$node"; done
  say "Hailo-8 or 8L${cards[0]+ at ${cards[0]}}, hailo_pci $driver, ${nodes[*]}"
}

check_driven() { # has the driver taken a card; another one may be a virtual machine's
  local card driven
  for card in ${cards[@]+"${cards[@]}"}; do
    driven=$(cd -P -- "$root/sys/bus/pci/devices/$card/driver" 2>/dev/null && pwd) || continue
    [[ ${driven##*/} =~ ^(vfio-pci|pci-stub|pciback)$ ]] || return 0
  done
  ((${#cards[@]} == 0)) || fail "hailo_pci $driver is loaded, but has not taken the card at ${cards[0]}." \
    "Look at: dmesg | grep hailo" \
    "Mostly the firmware /lib/firmware/hailo/hailo8_fw.bin is missing or of another version; mend it, then:" \
    "sudo modprobe -r hailo_pci && sudo modprobe hailo_pci"
}

choose_nodes() { # sets nodes: the first one, as many as the settings want, or those of the cards that they name
  local count id ids known name there=("${nodes[@]#"$root"}")
  count=$(chosen HAILO_DEVICE_COUNT) ids=$(chosen HAILO_DEVICE_IDS)
  nodes=("${there[0]}") node_groups=()
  if [[ -z $ids && ${count:-1} == 1 ]]; then return; fi
  nodes=()
  for id in ${ids//,/ }; do
    known=" ${cards[*]-} "
    [[ $known == *" $id "* || $known == *" 0000:$id "* || ${#cards[@]} == 0 ]] ||
      fail "HAILO_DEVICE_IDS=$ids, but there is no Hailo-8 at $id." "Name one of these, or none: ${cards[*]}" \
        "To take the first one again: HAILO_DEVICE_IDS= ./setup.sh"
    for name in "${there[@]}"; do
      [[ $(first_line "$root/sys/class/hailo_chardev/${name##*/}/board_location") != *"$id" ]] || nodes+=("$name")
    done
  done
  ((${#nodes[@]})) || nodes=("${there[@]}") # counted, or by a driver that does not tell: HailoRT looks for its own
  [[ -n $ids || ! $count =~ ^[0-9]{1,3}$ || $((10#$count)) -le ${#nodes[@]} ]] ||
    fail "HAILO_DEVICE_COUNT=$count, and there are only ${#nodes[@]} of /dev/hailo*." \
      "Set it to what there is, or leave it out: HAILO_DEVICE_COUNT= ./setup.sh"
}

check_node() { # NODE: may the worker use it; it is a user of its own, in the group of the node
  local mode group
  group=$(stat -c '%a %g' -- "$root$1")
  mode=${group% *} group=${group#* }
  (((8#$mode & 8#60) == 8#60)) || fail "$1 has mode $mode: its group may not read and write it, and so no container's user." \
    "Give it to everyone, as Hailo's own udev rule does:" \
    "echo 'SUBSYSTEM==\"hailo_chardev\", MODE=\"0666\"' | sudo tee /etc/udev/rules.d/51-hailo-udev.rules" \
    "sudo udevadm control --reload-rules && sudo udevadm trigger" \
    "Where there is no udev to keep it (Unraid), at each boot: chmod 666 $1"
  [[ " ${node_groups[*]-} " == *" $group "* ]] || node_groups+=("$group")
}

driver_not_loaded() {
  local signed=()
  ! secure_boot || signed=(
    "Secure Boot is on: a driver that is not signed is refused (\"Key was rejected by service\")."
    "Enrol the key that DKMS signs with: sudo mokutil --import /var/lib/dkms/mok.pub (Ubuntu:"
    "/var/lib/shim-signed/mok/MOK.der), boot and confirm it; or turn Secure Boot off in the firmware's setup."
  )
  fail "there is a Hailo card${cards[0]+ at ${cards[0]}}, but hailo_pci is not loaded." \
    "Run: sudo modprobe hailo_pci" \
    "Where there is no such module, install the driver of branch 4 (hailo-dkms, or hailort-pcie-driver from the" \
    "Hailo Developer Zone; on Unraid the HailoRT driver app), for the kernel that runs: $(uname -r)" \
    ${signed[@]+"${signed[@]}"}
}

secure_boot() { # is it on
  local file=$root/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  [[ -r $file && $(od -An -tu1 -j4 -N1 "$file") =~ 1 ]]
}

check_driver_version() { # sets driver: what the kernel says, or HAILORT_VERSION where it says nothing
  driver=$(first_line "$root/sys/module/hailo_pci/version")
  if [[ -z $driver ]]; then
    [[ -n ${HAILORT_VERSION-} ]] ||
      fail "hailo_pci is loaded and does not tell its version." \
        "Find it (modinfo hailo_pci, or the name of the package you installed), then: HAILORT_VERSION=4.23.0 ./setup.sh"
    driver=$HAILORT_VERSION
  fi
  [[ $driver =~ ^([0-9]+)\.([0-9]+)\.([0-9]+) ]] ||
    fail "'$driver' is no version of the driver hailo_pci." "Set it as in: HAILORT_VERSION=4.23.0 ./setup.sh"
  driver=${BASH_REMATCH[0]}
  local major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
  ((major <= 4)) || fail "hailo_pci $driver is loaded, which does not drive a Hailo-8." \
    "Install the driver of branch 4 (hailo-dkms 4.23 or so) instead: version 5 is for Hailo-10 and 15."
  ((major == 4 && minor >= oldest_minor)) ||
    fail "hailo_pci $driver is too old; the worker needs 4.$oldest_minor or newer." \
      "Install a newer driver of branch 4 (hailo-dkms 4.23 or so), then run this again."
  [[ -z ${HAILORT_VERSION-} || $HAILORT_VERSION == "$driver" ]] ||
    fail "HAILORT_VERSION=$HAILORT_VERSION, but the driver is $driver: the card will refuse (status 76)." \
      "Leave HAILORT_VERSION out, or install the driver $HAILORT_VERSION on this host."
}
