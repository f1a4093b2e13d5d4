"""A host for the tests of setup.sh: a checkout, a stand-in docker, a root folder with /sys, /dev and /proc."""

import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from docker_standin import DockerStandIn
from project import PROJECT
from setup_runs import Done

# What a host has that owns Docker and coreutils: no curl, no awk.
TOOLS = ["bash", "cat", "cp", "dirname", "env", "id", "mkdir", "mktemp", "mv", "rm", "stat", "tail", "tee", "uname"]
COPIED = ["setup.sh", *(f"scripts/{path.name}" for path in sorted((PROJECT / "scripts").glob("setup_*.sh")))]
FOLDERS = ["hailo-rt-4", "models", "tests", "scripts"]
DOCKERFILES = {
    "Dockerfile.hailo-base": "FROM x\nCOPY scripts/unpack.sh /build/\nCOPY hailo-rt-4/ /build/hailo-rt-4/\n",
    "Dockerfile.immich-ml-hailo": "FROM x\nCOPY --from=y /scripts/ /z/\nCOPY --chmod=755 requirements*.txt LICENSE ./\n"
    "COPY ml_target/ ml_target/\nCOPY tests/test.sh tests/\nCOPY models/ models/\n",
}
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0
eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0
eth0 0001A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""
ADDRESSES = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 172.17.0.1
        /32 host LOCAL
     |-- 192.168.1.0
        /24 link UNICAST
     |-- 192.168.1.20
        /32 host LOCAL
"""


class SetupHost:
    """A healthy host with a Hailo-8, its driver 4.23.0 and both packages; each test spoils what it is about."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a checkout"
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.temporary = folder / "tmp"
        for path in (self.checkout, self.root, self.bin, self.temporary):
            path.mkdir(parents=True)
        self._check_out()
        self._docker = DockerStandIn()
        self._equip()
        self.system({"proc/net/route": ROUTES, "proc/net/fib_trie": ADDRESSES, "proc/sys/kernel/hostname": "nas"})
        self.card()
        self.system({"sys/module/hailo_pci/version": "4.23.0"})
        self.node()
        self.package("hailort_4.23.0_amd64.deb")
        self.package("hailort-4.23.0-cp312-cp312-linux_x86_64.whl")

    def _check_out(self) -> None:
        for name in FOLDERS:
            (self.checkout / name).mkdir(parents=True)
        self._check_code_out()
        for name in ("requirements.txt", "scripts/unpack.sh", "tests/test.sh"):
            (self.checkout / name).write_text(name)
        for name, text in DOCKERFILES.items():
            (self.checkout / name).write_text(text)
        (self.checkout / "models/README.md").write_text("words")

    def _check_code_out(self) -> None:
        """What runs there."""
        for name in COPIED:
            shutil.copy(PROJECT / name, self.checkout / name)
        (self.checkout / "ml_target").symlink_to(PROJECT / "ml_target")

    def _equip(self) -> None:
        """The programs of the host."""
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)
        self.script("uname", '#!/bin/sh\n[ "$1" = -r ] && echo 6.8.0 || echo x86_64')
        self.script("df", "#!/bin/sh\necho Filesystem\necho /dev/sda 999999999 1 99999999 1% /")
        self.script("docker", self._docker.command())
        self.python()

    # ------------------------------------------------------------------ host

    def script(self, name: str, text: str) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text + "\n")
        (self.bin / name).chmod(0o755)

    def python(self) -> None:
        """A Python of this host's own, without any packages."""
        self.script("python3", f'#!/bin/sh\nexec {sys.executable} -S "$@"')

    def no_python(self) -> None:
        (self.bin / "python3").unlink()

    def system(self, files: dict[str, str]) -> None:
        """Files below the root folder."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")

    def card(self, device: str = "0x2864", bound: bool = True) -> None:
        """The only Hailo chip on the bus."""
        folder = "sys/bus/pci/devices/0000:01:00.0"
        shutil.rmtree(self.root / "sys/bus", ignore_errors=True)
        self.system({f"{folder}/vendor": "0x1e60", f"{folder}/device": device})
        if bound:
            self.system({"sys/bus/pci/drivers/hailo/bind": ""})
            (self.root / folder / "driver").symlink_to("../../drivers/hailo")

    def node(self, number: int = 0, mode: int = 0o660) -> None:
        self.system({f"dev/hailo{number}": ""})
        (self.root / f"dev/hailo{number}").chmod(mode)

    def without(self, *names: str) -> None:
        """Takes files and folders of the root folder away."""
        for name in names:
            path = self.root / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @property
    def group(self) -> int:
        """Of the device node."""
        return (self.root / "dev/hailo0").stat().st_gid

    def no_card(self) -> None:
        self.without("sys/bus", "sys/module", "dev")

    def package(self, name: str, content: str = "") -> None:
        """A file in hailo-rt-4/ that begins as its kind does."""
        beginning = "!<arch>\n" if name.endswith(".deb") else "PK\3\4"
        (self.checkout / "hailo-rt-4" / name).write_text(content or beginning)

    def no_packages(self) -> None:
        shutil.rmtree(self.checkout / "hailo-rt-4")
        (self.checkout / "hailo-rt-4").mkdir()

    def listens(self, port: int, file: str = "tcp") -> None:
        """Some program on this host."""
        line = f"   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1"
        self.system({f"proc/net/{file}": f"  sl  local_address rem_address   st\n{line}"})

    # ---------------------------------------------------------------- docker

    @property
    def state(self) -> dict[str, Any]:
        """What the stand-in docker has and does, as it is now; `change` changes it."""
        return deepcopy(self._docker.state)

    def change(self, **content: Any) -> None:
        self._docker.state.update(content)

    def fault(self, call: str, words: str, code: int = 1, leaves: dict[str, str] | None = None) -> None:
        """A call of docker that begins so fails with these words, and `leaves` a container with these labels."""
        self.change(faults={**self.state["faults"], call: (code, words, leaves)})

    def container(self, name: str = "immich-ml-hailo", **values: Any) -> None:
        """A container that setup.sh has not made."""
        standard = {"labels": {}, "image": "x", "ports": "", "status": "running", "restarts": 0, "log": "its log"}
        self.change(containers={**self.state["containers"], name: {**standard, **values}})

    @property
    def note(self) -> Path:
        """Where the settings are kept for when the container was removed by hand."""
        return self.checkout / ".setup-settings"

    @property
    def ours(self) -> dict[str, Any]:
        found: dict[str, Any] = self.state["containers"]["immich-ml-hailo"]
        return found

    def calls(self) -> list[list[str]]:
        """Every call of docker in the last run."""
        return self._docker.calls

    def changes(self) -> list[str]:
        """The calls that change something, without their options: build TAG, fetch, run -d, rm, start, stop, rename."""
        found = []
        for words in self.calls():
            match words[0]:
                case "build":
                    found.append(f"build {words[2]}")
                case "run" if "fetch" in words:
                    found.append("fetch")
                case "run" if words[1] == "-d":
                    found.append("run -d")
                case "rm" | "start" | "stop" | "rename":
                    found.append(words[0])
        return found

    def call(self, *beginning: str) -> list[str]:
        """The only call that begins so."""
        (one,) = [words for words in self.calls() if words[: len(beginning)] == list(beginning)]
        return one

    # ------------------------------------------------------------------ runs

    def run(self, *arguments: str, **environment: str) -> Done:
        """With nobody at the terminal."""
        return self._run(subprocess.DEVNULL, arguments, environment)

    def run_in_terminal(self, answers: str, *arguments: str, **environment: str) -> Done:
        """With somebody who types these answers."""
        master, slave = pty.openpty()
        try:
            os.write(master, answers.encode())
            return self._run(slave, arguments, environment)
        finally:
            os.close(slave)
            os.close(master)

    def _run(self, stdin: int, arguments: Sequence[str], environment: Mapping[str, str]) -> Done:
        self._docker.calls = []
        standard = {"PATH": str(self.bin), "SETUP_ROOT": str(self.root), "TMPDIR": str(self.temporary)}
        standard |= {"HOME": str(self.temporary), "IMMICH_PORT": "65000"}
        standard |= {"SETUP_READY_S": "60", "SETUP_PAUSE_S": "0.02"}
        done = subprocess.run(
            [self.checkout / "setup.sh", *arguments],
            env={**standard, **environment},
            cwd="/",
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(done)

    def refusal(self, *arguments: str, **environment: str) -> tuple[str, str]:
        """What is wrong and the remedy, of a run that must refuse before it has changed anything."""
        before = self.tree()
        done = self.run("--yes", *arguments, **environment)
        assert done.refused, done.out + done.err
        assert done.remedy, "a refusal names its remedy"
        assert self.changes() == []
        assert self.tree() == before
        return done.reason, done.remedy

    def tree(self) -> dict[str, str]:
        """Every file of the host, as name -> hash and time, and what its docker has."""
        found = {"docker": json.dumps(self._docker.state)}
        for path in sorted(self.checkout.parent.rglob("*")):
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = f"{digest} {path.lstat().st_mtime_ns}"
        return found
