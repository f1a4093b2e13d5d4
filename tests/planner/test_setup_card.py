"""setup.sh on hosts whose card, driver or HailoRT packages are not right: what it refuses, and the remedy."""

import shutil
from collections.abc import Callable

import pytest
from setup_host import SECURE_BOOT
from setup_planned import PlannedHost

Spoil = Callable[[PlannedHost], object]
DEB, WHL = "hailort_4.23.0_amd64.deb", "hailort-4.23.0-cp312-cp312-linux_x86_64.whl"
ON_CPU = "on the processor: ./setup.sh --cpu"


def machine(name: str) -> Spoil:
    def spoil(host: PlannedHost) -> None:
        host.machine = name
        host.change(arch={"x86_64": "amd64", "aarch64": "arm64"}.get(name, name))

    return spoil


def stranger(host: PlannedHost) -> None:
    host.no_card()
    host.card(device="0x45c4")


def not_loaded(host: PlannedHost) -> None:
    host.without("sys/module", "dev")


def secure_boot(host: PlannedHost) -> None:
    not_loaded(host)
    host.system({SECURE_BOOT: ""})
    (host.root / SECURE_BOOT).write_bytes(b"\6\0\0\0\1")


def driver(version: str) -> Spoil:
    return lambda host: host.system({"sys/module/hailo_pci/version": version})


def hidden_version(host: PlannedHost) -> None:
    host.without("sys/module/hailo_pci/version")


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (machine("armv7l"), "this machine is armv7l; the worker runs on x86_64 and aarch64.", "64-bit system"),
        (PlannedHost.no_card, "this machine has no Hailo card.", ON_CPU),
        (stranger, "there is a Hailo chip of another kind at 0000:01:00.0.", ON_CPU),
        (not_loaded, "there is a Hailo card at 0000:01:00.0, but hailo_pci is not loaded.", "sudo modprobe hailo_pci"),
        (secure_boot, "hailo_pci is not loaded.", "Secure Boot is on"),
        (lambda host: host.card(bound=False), "has not taken the card at 0000:01:00.0.", "hailo8_fw.bin"),
        (lambda host: host.without("dev"), "there is no /dev/hailo0", "sudo modprobe -r hailo_pci"),
        (driver("5.1.0"), "hailo_pci 5.1.0 is loaded, which does not drive a Hailo-8: it is for", "driver of branch 4"),
        (driver("4.17.0"), "hailo_pci 4.17.0 is loaded, which is too old; the worker needs 4.20", "driver of branch 4"),
        (driver("local"), "'local' is not a version of the driver hailo_pci.", "HAILORT_VERSION=4.23.0"),
        (hidden_version, "hailo_pci is loaded and does not say its version.", "HAILORT_VERSION=4.23.0 ./setup.sh"),
    ],
)
def test_a_card_that_cannot_be_used(host: PlannedHost, spoil: Spoil, reason: str, remedy: str) -> None:
    spoil(host)
    found = host.refusal()
    assert reason in found[0]
    assert remedy in found[1]


def test_a_card_that_the_first_node_is_not_for(host: PlannedHost) -> None:
    host.node(1)
    host.without("dev/hailo0")
    out = host.run("--dry-run").out
    assert "--device=/dev/hailo1:/dev/hailo1 " in out
    assert "hailo0" not in out


@pytest.mark.parametrize("other", ["vfio-pci", "uio_pci_generic"])
def test_a_card_that_a_virtual_machine_has(host: PlannedHost, other: str) -> None:
    folder = "sys/bus/pci/devices/0000:00:09.0"
    host.system({f"{folder}/vendor": "0x1e60", f"{folder}/device": "0x2864"})
    host.system({f"sys/bus/pci/drivers/{other}/bind": ""})
    (host.root / folder / "driver").symlink_to(f"../../drivers/{other}")
    assert host.run("--dry-run").code == 0
    (host.root / "sys/bus/pci/devices/0000:01:00.0/driver").unlink()
    assert "has not taken the card at 0000:01:00.0" in host.refusal()[0], "this one was not given away"
    shutil.rmtree(host.root / "sys/bus/pci/devices/0000:01:00.0")
    reason, remedy = host.refusal()
    assert reason == f"the card at 0000:00:09.0 belongs to the driver {other}, as a virtual machine's does."
    assert "give the card back to hailo_pci" in remedy


def test_secure_boot_is_told_only_where_it_is_on(host: PlannedHost) -> None:
    not_loaded(host)
    assert "Secure Boot" not in host.refusal()[1]
    host.system({SECURE_BOOT: ""})
    (host.root / SECURE_BOOT).write_bytes(b"\6\0\0\0\0")
    assert "Secure Boot" not in host.refusal()[1]


def test_the_version_may_be_told_where_the_driver_hides_it(host: PlannedHost) -> None:
    hidden_version(host)
    assert host.run("--yes", "--no-start", HAILORT_VERSION="4.23.0").code == 0
    assert "build immich-ml-hailo:v4.23.0" in host.changes()


def test_another_version_than_the_drivers(host: PlannedHost) -> None:
    reason, remedy = host.refusal(HAILORT_VERSION="4.22.0")
    assert reason == "HAILORT_VERSION=4.22.0, but the driver is 4.23.0: the card will refuse (status 76)."
    assert "Leave HAILORT_VERSION out" in remedy


@pytest.mark.parametrize("version", ["4.22.0", "4.23.0+local", "4.24.1"])
def test_the_driver_decides_the_version(host: PlannedHost, version: str) -> None:
    plain = version.partition("+")[0]
    driver(version)(host)
    host.no_packages()
    host.package(f"hailort_{plain}_amd64.deb")
    host.package(f"hailort-{plain}-cp312-cp312-linux_x86_64.whl")
    assert host.run("--yes", "--no-start").code == 0
    assert f"HAILORT_VERSION={plain}" in host.call("build", "-t", f"hailo-base:v{plain}")
    assert f"HAILORT_VERSION={plain}" in host.call("build", "-t", f"immich-ml-hailo:v{plain}")


def test_a_node_that_another_group_owns(host: PlannedHost) -> None:
    host.groups["/dev/hailo0"] = "44"
    assert host.run("--yes", "--no-start").code == 0
    assert "--group-add=44 " in host.run("--dry-run").out
    assert host.run("--yes").code == 0
    assert "--group-add=44" in host.call("run", "-d")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o606])
def test_a_node_that_its_group_may_not_use(host: PlannedHost, mode: int) -> None:
    host.node(mode=mode)
    reason, remedy = host.refusal()
    assert reason.startswith(f"/dev/hailo0 has mode {mode:o}: its group may not read and write it")
    assert 'SUBSYSTEM=="hailo_chardev", MODE="0666"' in remedy
    assert "chmod 666 /dev/hailo0" in remedy
    host.node(mode=0o666)
    assert host.run("--dry-run").code == 0


@pytest.mark.parametrize(("kernel", "docker"), [("aarch64", "arm"), ("x86_64", "386")])
def test_a_32_bit_system_on_a_64_bit_kernel(host: PlannedHost, kernel: str, docker: str) -> None:
    machine(kernel)(host)
    host.change(arch=docker)
    reason, remedy = host.refusal()
    assert reason.startswith(f"this machine is {kernel}, but the Docker on it is for {docker}")
    assert "64-bit system" in remedy


@pytest.mark.parametrize("said", ["", "27.0.1", "riscv64"])
def test_a_docker_that_does_not_tell_its_architecture_is_no_refusal(host: PlannedHost, said: str) -> None:
    host.change(arch=said)
    assert host.run("--dry-run").code == 0


# ----------------------------------------------------------------- packages


def only(*names: str) -> Spoil:
    def spoil(host: PlannedHost) -> None:
        host.no_packages()
        for name in names:
            host.package(name)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (only(), [f"missing: {DEB}", f"missing: {WHL}"]),
        (only(DEB), [f"missing: {WHL}"]),
        (only(WHL), [f"missing: {DEB}"]),
        (only("hailort_4.22.0_amd64.deb", WHL), ["_amd64.deb is there instead: version 4.22.0, the driver is 4.23.0"]),
        (only(DEB, WHL.replace("4.23.0", "4.21.0")), ["version 4.21.0, the driver is 4.23.0"]),
        (driver("4.21.0"), ["version 4.23.0, the driver is 4.21.0", "missing: hailort_4.21.0_amd64.deb"]),
        (only(DEB, WHL.replace("cp312", "cp311")), ["for Python 3.11, the image has 3.12"]),
        (only(DEB.replace("amd64", "arm64"), WHL), ["for aarch64, this machine is x86_64"]),
        (machine("aarch64"), ["for x86_64, this machine is aarch64", f"missing: {DEB.replace('amd64', 'arm64')}"]),
        (only("hailort_4.23.0_amd64 (1).deb", WHL), ["another name; rename it if it is the right file"]),
        (only("hailort-pcie-driver_4.23.0_all.deb", WHL), ["the driver for the host, not the library"]),
        (only(DEB, "hailo_model_zoo-2.17-py3-none-any.whl"), ["another package"]),
        (only("hailort_4.22.0_arm64.deb", WHL), ["the driver is 4.23.0; for aarch64, this machine is x86_64"]),
        (lambda host: host.package(DEB, "<html>Please log in</html>"), [f"{DEB} is not a Debian package: a page"]),
        (lambda host: host.package(WHL, "\0\0\0\0"), [f"{WHL} is not a Python wheel"]),
    ],
)  # fmt: skip
def test_packages_that_do_not_fit(host: PlannedHost, spoil: Spoil, words: list[str]) -> None:
    spoil(host)
    reason, remedy = host.refusal()
    assert reason.startswith("HailoRT 4.2")
    assert "is not complete in" in reason
    for text in words:
        assert text in remedy
    assert "AI Software Suite" in remedy
    assert "Linux, Python 3.12" in remedy


def test_a_complaint_is_only_about_what_is_wrong(host: PlannedHost) -> None:
    only(DEB)(host)
    remedy = host.refusal()[1]
    assert "missing: hailort_" not in remedy
    assert "is there instead" not in remedy


def test_other_versions_beside_the_right_ones_do_no_harm(host: PlannedHost) -> None:
    host.package("hailort_4.22.0_amd64.deb")
    host.package("hailort-4.23.0-cp311-cp311-linux_x86_64.whl")
    assert host.run("--yes", "--no-start").code == 0
