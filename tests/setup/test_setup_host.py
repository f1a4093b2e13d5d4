"""setup.sh on hosts that lack something: what it refuses, with which remedy, and that it has changed nothing."""

import shutil
import subprocess
from collections.abc import Callable

import pytest
from setup_host import SECURE_BOOT, STAT, SetupHost

Spoil = Callable[[SetupHost], object]
DEB, WHL = "hailort_4.23.0_amd64.deb", "hailort-4.23.0-cp312-cp312-linux_x86_64.whl"
ON_CPU = "on the processor: ./setup.sh --cpu"


def refusal(host: SetupHost, *arguments: str, **environment: str) -> tuple[str, str]:
    """What is wrong and the remedy, of a run that must refuse before it has changed anything."""
    before = host.tree()
    done = host.run("--yes", *arguments, **environment)
    assert done.refused, done.out + done.err
    assert done.remedy, "a refusal names its remedy"
    assert host.changes() == []
    assert host.tree() == before
    return done.reason, done.remedy


def test_a_healthy_host_is_refused_nothing(host: SetupHost) -> None:
    done = host.run("--yes", "--no-start")
    assert done.code == 0, done.err
    assert done.err == ""


# ------------------------------------------------------------------- docker


def test_no_docker(host: SetupHost) -> None:
    (host.bin / "docker").unlink()
    reason, remedy = refusal(host)
    assert reason == "Docker is not here."
    assert "sudo apt-get install docker.io" in remedy
    assert "Unraid: Settings, Docker" in remedy
    assert "./setup.sh serve" in remedy


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "may not use it.",
            "sudo usermod -aG docker ",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "its daemon does not run.",
            "sudo systemctl start docker",
        ),
        ("client version 1.99 is too new", "Docker does not answer: client version 1.99", "docker ps"),
    ],
)
def test_docker_that_does_not_serve(host: SetupHost, words: str, reason: str, remedy: str) -> None:
    host.fault("ps", words)
    found = refusal(host)
    assert reason in found[0]
    assert remedy in found[1]


def test_docker_of_another_machine(host: SetupHost) -> None:
    reason, remedy = refusal(host, DOCKER_HOST="ssh://nas")
    assert reason.startswith("DOCKER_HOST=ssh://nas is another machine")
    assert "env -u DOCKER_HOST" in remedy


@pytest.mark.parametrize("where", ["/docker", "models"])
def test_no_space(host: SetupHost, where: str) -> None:
    host.script(
        "df", f"#!/bin/sh\necho F\ncase $3 in *{where}) echo /dev/sda 9 9 1024000 9% /;; *) echo a 9 9 99999999;; esac"
    )
    done = host.run("--yes")
    assert done.refused
    assert "MB, and there are 1000 MB free on the disk that holds " in done.reason
    assert where in done.reason
    assert "docker system df" in done.remedy
    assert "fetch" not in host.changes()


def test_a_disk_that_cannot_be_told_is_no_refusal(host: SetupHost) -> None:
    host.script("df", "#!/bin/sh\nexit 1")
    assert host.run("--yes", "--no-start").code == 0


# --------------------------------------------------------------------- card


def machine(name: str) -> Spoil:
    def spoil(host: SetupHost) -> None:
        host.script("uname", f"#!/bin/sh\necho {name}")
        host.change(arch={"x86_64": "amd64", "aarch64": "arm64"}.get(name, name))

    return spoil


def stranger(host: SetupHost) -> None:
    host.no_card()
    host.card(device="0x45c4")


def not_loaded(host: SetupHost) -> None:
    host.without("sys/module", "dev")


def secure_boot(host: SetupHost) -> None:
    not_loaded(host)
    host.system({SECURE_BOOT: ""})
    (host.root / SECURE_BOOT).write_bytes(b"\6\0\0\0\1")


def driver(version: str) -> Spoil:
    return lambda host: host.system({"sys/module/hailo_pci/version": version})


def hidden_version(host: SetupHost) -> None:
    host.without("sys/module/hailo_pci/version")


@pytest.mark.parametrize(
    ("spoil", "reason", "remedy"),
    [
        (machine("armv7l"), "this machine is armv7l; the worker runs on x86_64 and aarch64.", "64-bit system"),
        (SetupHost.no_card, "this machine has no Hailo card.", ON_CPU),
        (stranger, "there is a Hailo chip of another kind at 0000:01:00.0.", ON_CPU),
        (not_loaded, "there is a Hailo card at 0000:01:00.0, but hailo_pci is not loaded.", "sudo modprobe hailo_pci"),
        (secure_boot, "hailo_pci is not loaded.", "Secure Boot is on"),
        (lambda host: host.card(bound=False), "has not taken the card at 0000:01:00.0.", "hailo8_fw.bin"),
        (lambda host: host.without("dev"), "there is no /dev/hailo0", "sudo modprobe -r hailo_pci"),
        (driver("5.1.0"), "hailo_pci 5.1.0 is loaded, which does not drive a Hailo-8.", "driver of branch 4"),
        (driver("4.17.0"), "hailo_pci 4.17.0 is too old; the worker needs 4.20 or newer.", "Install a newer driver"),
        (driver("local"), "'local' is no version of the driver hailo_pci.", "HAILORT_VERSION=4.23.0"),
        (hidden_version, "hailo_pci is loaded and does not tell its version.", "HAILORT_VERSION=4.23.0 ./setup.sh"),
    ],
)
def test_a_card_that_cannot_be_used(host: SetupHost, spoil: Spoil, reason: str, remedy: str) -> None:
    spoil(host)
    found = refusal(host)
    assert reason in found[0]
    assert remedy in found[1]


def test_a_card_that_the_first_node_is_not_for(host: SetupHost) -> None:
    host.node(1)
    host.without("dev/hailo0")
    out = host.run("--dry-run").out
    assert "--device=/dev/hailo1:/dev/hailo1 " in out
    assert "hailo0" not in out


def test_a_card_that_a_virtual_machine_has(host: SetupHost) -> None:
    folder = "sys/bus/pci/devices/0000:00:09.0"
    host.system({f"{folder}/vendor": "0x1e60", f"{folder}/device": "0x2864"})
    host.system({"sys/bus/pci/drivers/vfio-pci/bind": ""})
    (host.root / folder / "driver").symlink_to("../../drivers/vfio-pci")
    assert host.run("--dry-run").code == 0
    shutil.rmtree(host.root / "sys/bus/pci/devices/0000:01:00.0")
    assert "has not taken the card at 0000:00:09.0" in refusal(host)[0]


def test_secure_boot_is_told_only_where_it_is_on(host: SetupHost) -> None:
    not_loaded(host)
    assert "Secure Boot" not in refusal(host)[1]
    host.system({SECURE_BOOT: ""})
    (host.root / SECURE_BOOT).write_bytes(b"\6\0\0\0\0")
    assert "Secure Boot" not in refusal(host)[1]


def test_the_version_may_be_told_where_the_driver_hides_it(host: SetupHost) -> None:
    hidden_version(host)
    assert host.run("--yes", "--no-start", HAILORT_VERSION="4.23.0").code == 0
    assert "build immich-ml-hailo:v4.23.0" in host.changes()


def test_another_version_than_the_drivers(host: SetupHost) -> None:
    reason, remedy = refusal(host, HAILORT_VERSION="4.22.0")
    assert reason == "HAILORT_VERSION=4.22.0, but the driver is 4.23.0: the card will refuse (status 76)."
    assert "Leave HAILORT_VERSION out" in remedy


@pytest.mark.parametrize("version", ["4.22.0", "4.23.0+local", "4.24.1"])
def test_the_driver_decides_the_version(host: SetupHost, version: str) -> None:
    plain = version.partition("+")[0]
    driver(version)(host)
    host.no_packages()
    host.package(f"hailort_{plain}_amd64.deb")
    host.package(f"hailort-{plain}-cp312-cp312-linux_x86_64.whl")
    assert host.run("--yes", "--no-start").code == 0
    assert f"HAILORT_VERSION={plain}" in host.call("build", "-t", f"hailo-base:v{plain}")
    assert f"HAILORT_VERSION={plain}" in host.call("build", "-t", f"immich-ml-hailo:v{plain}")


def test_a_node_that_another_group_owns(host: SetupHost) -> None:
    host.script("stat", '#!/bin/sh\ncase "$*" in *hailo0) echo 660 44;; *) exec STAT "$@";; esac'.replace("STAT", STAT))
    assert host.run("--yes", "--no-start").code == 0
    assert "--group-add=44 " in host.run("--dry-run").out
    assert host.run("--yes", SETUP_READY_S="0").refused, "nothing answers there"
    assert "--group-add=44" in host.call("run", "-d")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o606])
def test_a_node_that_its_group_may_not_use(host: SetupHost, mode: int) -> None:
    host.node(mode=mode)
    reason, remedy = refusal(host)
    assert reason.startswith(f"/dev/hailo0 has mode {mode:o}: its group may not read and write it")
    assert 'SUBSYSTEM=="hailo_chardev", MODE="0666"' in remedy
    assert "chmod 666 /dev/hailo0" in remedy
    host.node(mode=0o666)
    assert host.run("--dry-run").code == 0


@pytest.mark.parametrize(("kernel", "docker"), [("aarch64", "arm"), ("x86_64", "386")])
def test_a_32_bit_system_on_a_64_bit_kernel(host: SetupHost, kernel: str, docker: str) -> None:
    machine(kernel)(host)
    host.change(arch=docker)
    reason, remedy = refusal(host)
    assert reason.startswith(f"this machine is {kernel}, but the Docker on it is for {docker}")
    assert "64-bit system" in remedy


@pytest.mark.parametrize("said", ["", "27.0.1", "riscv64"])
def test_a_docker_that_does_not_tell_its_architecture_is_no_refusal(host: SetupHost, said: str) -> None:
    host.change(arch=said)
    assert host.run("--dry-run").code == 0


# --------------------------------------------------------------------- sudo


def test_sudo_is_told_with_what_the_run_was_given(host: SetupHost) -> None:
    host.fault("ps", "permission denied while trying to connect to the Docker daemon socket")
    remedy = refusal(
        host, "--clip-backend", "siglip", FACE_DETECTOR="scrfd_10g", MODELS_MIRROR="/a b", IMMICH_PORT="3004"
    )[1]
    given = r"FACE_DETECTOR=scrfd_10g IMMICH_PORT=3004 MODELS_MIRROR=/a\ b"
    assert f"Run: sudo {given} ./setup.sh --yes --clip-backend siglip\n" in remedy


def test_what_sudo_would_drop_is_put_behind_it(host: SetupHost) -> None:
    host.container("other", ports="0.0.0.0:3003->3003/tcp")
    taken = {"IMMICH_PORT": "3003"}
    assert "one: IMMICH_PORT=3004 ./setup.sh" in refusal(host, **taken)[1]
    assert "one: sudo IMMICH_PORT=3004 ./setup.sh" in refusal(host, **taken, SUDO_USER="me")[1]
    assert "(sudo env -u MODELS_DIR ./setup.sh)" in refusal(host, MODELS_DIR="/data", SUDO_USER="me")[1]
    host.no_card()
    assert "on the processor: sudo ./setup.sh --cpu" in refusal(host, SUDO_USER="me")[1]
    host.fault("ps", "permission denied")
    assert "Run: sudo IMMICH_PORT=65000 ./setup.sh --yes\n" in refusal(host, SUDO_USER="me")[1]


# ----------------------------------------------------------------- packages


def only(*names: str) -> Spoil:
    def spoil(host: SetupHost) -> None:
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
def test_packages_that_do_not_fit(host: SetupHost, spoil: Spoil, words: list[str]) -> None:
    spoil(host)
    reason, remedy = refusal(host)
    assert reason.startswith("HailoRT 4.2")
    assert "is not complete in" in reason
    for text in words:
        assert text in remedy
    assert "AI Software Suite" in remedy
    assert "Linux, Python 3.12" in remedy


def test_a_complaint_is_only_about_what_is_wrong(host: SetupHost) -> None:
    only(DEB)(host)
    remedy = refusal(host)[1]
    assert "missing: hailort_" not in remedy
    assert "is there instead" not in remedy


def test_other_versions_beside_the_right_ones_do_no_harm(host: SetupHost) -> None:
    host.package("hailort_4.22.0_amd64.deb")
    host.package("hailort-4.23.0-cp311-cp311-linux_x86_64.whl")
    assert host.run("--yes", "--no-start").code == 0


# ---------------------------------------------------------- names and ports


def test_a_container_of_that_name_that_is_not_ours(host: SetupHost) -> None:
    host.container(labels={"com.docker.compose.project": "immich"})
    reason, remedy = refusal(host)
    assert reason == "there is a container immich-ml-hailo that this script did not make; it is left alone."
    assert "docker rename immich-ml-hailo immich-ml-hailo-before" in remedy
    assert "docker rm -f immich-ml-hailo" in remedy


def test_a_container_of_that_name_does_not_keep_images_from_being_built(host: SetupHost) -> None:
    host.container()
    assert host.run("--yes", "--no-start").code == 0
    assert host.ours["labels"] == {}


def test_the_port_is_taken_by_a_container(host: SetupHost) -> None:
    host.container("immich_machine_learning", ports="0.0.0.0:3003->3003/tcp, [::]:3003->3003/tcp")
    reason, remedy = refusal(host, IMMICH_PORT="3003")
    assert reason == "port 3003 is taken by the container immich_machine_learning."
    assert "docker stop immich_machine_learning" in remedy
    assert "IMMICH_PORT=3004 ./setup.sh" in remedy
    assert host.run("--yes", "--no-start", IMMICH_PORT="3004").code == 0


@pytest.mark.parametrize("file", ["tcp", "tcp6"])
def test_the_port_is_taken_by_a_program(host: SetupHost, file: str) -> None:
    host.listens(3003, file)
    reason, remedy = refusal(host, IMMICH_PORT="3003")
    assert reason.startswith("port 3003 is taken by another program on this host")
    assert "IMMICH_PORT=3004 ./setup.sh" in remedy


@pytest.mark.parametrize("port", ["0", "70000", "http", "-1"])
def test_no_port(host: SetupHost, port: str) -> None:
    assert refusal(host, IMMICH_PORT=port)[0] == f"IMMICH_PORT={port} is no port."


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--clip-backend"], "--clip-backend takes a name; not ''."),
        (["--chip="], "--chip takes a name; not ''."),
        (["--clip-backend=a b"], "--clip-backend takes a name; not 'a b'."),
        (["--chip", "hailo8", "--cpu"], "--chip is about a card, --cpu is without one."),
        (["--gpu"], "there is no option '--gpu'."),
        (["--yes", "serve"], "there is no option 'serve'."),
    ],
)
def test_options_that_make_no_sense(host: SetupHost, arguments: list[str], reason: str) -> None:
    assert refusal(host, *arguments)[0] == reason
    assert host.calls() == []


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (["--clip-backend", "clip"], {}, "CLIP_BACKEND=clip: it takes one of tinyclip, siglip, siglip2, auto."),
        ([], {"CLIP_BACKEND": "clip"}, "CLIP_BACKEND=clip: it takes one of tinyclip, siglip, siglip2, auto."),
        (["--chip=hailo15"], {}, "--chip takes one of: hailo8 hailo8l; not 'hailo15'."),
    ],
)
def test_what_there_is_the_workers_own_code_knows(
    host: SetupHost, arguments: list[str], given: dict[str, str], words: str
) -> None:
    """Asked of the host's Python before anything is changed, else of the image's as soon as there is one."""
    host.python()
    assert refusal(host, *arguments, **given)[0].startswith("a setting is not right; the line above says which")
    assert words in host.run("--yes", *arguments, **given).out
    (host.bin / "python3").unlink()
    host.run("--yes", *arguments, **given)
    asked = next(call for call in host.calls() if "ml_target.diagnostics.settings" in call)
    assert "CLIP_BACKEND=clip" in asked or asked[asked.index("--chip") + 1] == "hailo15"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CLIP_BACKEND", "a b", "CLIP_BACKEND='a b' has a character in it that no such setting has."),
        ("ENGINE", "gpu", "ENGINE=gpu is not known."),
        ("FACE_DETECTOR", "a b", "FACE_DETECTOR='a b' has a character in it that no such setting has."),
        ("FACE_DETECTOR", "a|b", "FACE_DETECTOR='a|b' has a character in it that no such setting has."),
        ("FACE_DETECTOR", "*", "FACE_DETECTOR='*' has a character in it that no such setting has."),
        ("MODELS_DIR", "/data", "MODELS_DIR is not for containers: the image takes what is in "),
    ],
)
def test_settings_that_make_no_sense(host: SetupHost, name: str, value: str, reason: str) -> None:
    assert refusal(host, **{name: value})[0].startswith(reason)


def test_a_folder_that_docker_cannot_take(host: SetupHost) -> None:
    host.checkout = host.checkout.rename(host.checkout.with_name("a:b"))
    assert "has a colon in its name" in refusal(host)[0]


# ------------------------------------------------------------------ answers


def test_nobody_to_ask(host: SetupHost) -> None:
    before = host.tree()
    done = host.run()
    assert done.refused
    assert done.reason.startswith("this needs an answer, and there is nobody to ask: Build what is missing, and start ")
    assert "./setup.sh --yes" in done.remedy
    assert "./setup.sh --dry-run" in done.remedy
    assert host.changes() == []
    assert host.tree() == before


def test_no_is_an_answer(host: SetupHost) -> None:
    done = host.run_in_terminal("no\n")
    assert done.refused
    assert done.reason == "stopped; nothing was changed."
    assert host.changes() == []


def test_yes_is_asked_once_for_everything_and_once_for_the_download(host: SetupHost) -> None:
    done = host.run_in_terminal("\ny\n", "--no-start")
    assert done.code == 0, done.err
    assert done.err.count("[Y/n]") == 2
    assert host.changes()[-2:] == ["fetch", "build immich-ml-hailo:v4.23.0"]


def test_a_dry_run_changes_nothing_and_shows_every_command(host: SetupHost) -> None:
    before = host.tree()
    done = host.run("--dry-run")
    assert done.code == 0, done.err
    assert host.tree() == before
    assert host.changes() == []
    assert not [words for words in host.calls() if words[0] in ("run", "exec")]
    shown = [line.strip() for line in done.out.splitlines() if line.startswith("    $ docker ")]
    wanted = ["build", "build", "run --rm", "run --rm", "run --rm", "run --rm", "build", "run -d", "exec"]
    assert len(shown) == len(wanted)
    for line, command in zip(shown, wanted, strict=True):
        assert line.startswith(f"$ docker {command} ")
    assert "models fetch --engine hailo --chip CHIP" in shown[5]
    assert "Nothing was changed." in done.out


def test_what_a_dry_run_shows_can_be_typed(host: SetupHost) -> None:
    shown = [line.strip()[2:] for line in host.run("--dry-run").out.splitlines() if "$ docker run -d" in line]
    done = subprocess.run(
        ["bash", "-c", f'docker() {{ printf "%s\\n" "$@"; }}; {shown[0]}'], capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    settings = f"IMMICH_PORT=65000 CLIP_BACKEND=tinyclip LIMIT=4g DEVICE=/dev/hailo0 GROUP={host.group}"
    assert f"immich-ml-hailo.settings={settings}" in words
    assert words[-1] == "immich-ml-hailo:v4.23.0"


def test_a_dry_run_refuses_as_a_real_one(host: SetupHost) -> None:
    host.no_card()
    done = host.run("--dry-run")
    assert done.reason == "this machine has no Hailo card."


def test_help(host: SetupHost) -> None:
    done = host.run("--help")
    assert done.code == 0
    for option in (
        "--cpu",
        "--clip-backend",
        "--chip",
        "--yes",
        "--dry-run",
        "--no-start",
        "--missing-ok",
        "serve",
        "test",
    ):
        assert option in done.out
    assert host.calls() == []


def test_sudo_is_told_no_password(host: SetupHost) -> None:
    host.fault("ps", "permission denied while trying to connect to the Docker daemon socket")
    secrets = {"MODELS_MIRROR": "http://me:hun@ter2@files.lan/x", "HF_ENDPOINT": "https://hunter2@hub.lan"}
    remedy = refusal(host, **secrets)[1]
    assert "ter2" not in remedy
    assert r"MODELS_MIRROR=http://\*\*\*@files.lan/x HF_ENDPOINT=https://\*\*\*@hub.lan ./setup.sh" in remedy
