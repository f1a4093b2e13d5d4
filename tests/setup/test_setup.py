"""setup.sh with a stand-in Python: what it refuses and with which words, and what it does only once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from project import PROJECT

TOOLS = ["awk", "bash", "cat", "cp", "cut", "df", "dirname", "env", "grep", "head", "id", "ls", "mkdir", "mktemp", "rm"]
TOOLS += ["sha256sum", "tail", "touch", "uname"]

PARTS = [f"scripts/setup_{part}.sh" for part in ("python", "serve", "test")]

# Answers as python3 does, as far as setup.sh asks; what it is asked to do it notes in $ASKED.
STAND_IN = """#!/usr/bin/env bash
minor=MINOR
case "$*" in
  *version_info*) echo "$minor" ;;
  *ensurepip*) [[ -z ${NO_VENV-} || -e $ASKED.apt ]] ;;
  -VV) echo "Python 3.$minor stand-in" ;;
  "-m venv "*)
    echo venv >>"$ASKED"
    mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
  "-m pip --version") echo pip ;;
  */scripts/install_packages.py*)
    echo "packages ${*:2}" >>"$ASKED"
    [[ -z ${PACKAGES_FAIL-} ]] ;;
  */scripts/run_checks.py*)
    echo "checks $PWD ${*:2}" >>"$ASKED"
    [[ -z ${CHECKS_FAIL-} ]] ;;
  "-m ml_target.diagnostics.settings")
    if [[ -n ${SETTINGS_WORDS-} ]]; then echo "$SETTINGS_WORDS"; fi
    if [[ -n ${SETTINGS_WRONG-} ]]; then echo "$SETTINGS_WRONG" >&2; exit 1; fi ;;
  "-m ml_target.setup.serve")
    if [[ -n ${LIBRARY-} ]]; then printf '%s\\n' "$LIBRARY"; fi
    exit "${LIBRARY_CODE:-0}" ;;
  "-m ml_target models "*) echo "models${CLIP_BACKEND+ for $CLIP_BACKEND}" >>"$ASKED" ;;
  "-m ml_target serve") echo "serve ENGINE=${ENGINE-}${FACE_DETECTOR+ $FACE_DETECTOR}" >>"$ASKED" ;;
  *) exit 9 ;;
esac
"""


APT_GET = """#!/usr/bin/env bash
echo "apt-get $1 ${*:5}" >>"$ASKED"
if [[ $1 == install ]]; then touch "$ASKED.apt"; fi
"""


class Host:
    """A checkout on a machine that has only the given Pythons."""

    def __init__(self, root: Path, **pythons: int) -> None:
        self.checkout = root / "a checkout"
        self.bin = root / "bin"
        self.asked = root / "asked"
        for folder in (self.checkout / "scripts", self.bin):
            folder.mkdir(parents=True)
        for name in ("setup.sh", *PARTS):
            shutil.copy(PROJECT / name, self.checkout / name)
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        for name, minor in pythons.items():
            self.script(name.replace("_", "."), STAND_IN.replace("MINOR", str(minor)))
        self.script("id", "#!/bin/sh\necho 1000")

    def script(self, name: str, text: str) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def root_with_apt(self) -> None:
        self.script("id", "#!/bin/sh\necho 0")
        self.script("apt-get", APT_GET)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.asked.write_text("")
        return subprocess.run(
            [self.checkout / "setup.sh", *arguments],
            env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), "ASKED": str(self.asked), **environment},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def steps(self) -> list[str]:
        """What the Pythons were asked to do in the last run."""
        return self.asked.read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, python3=12)


def test_its_usage(host: Host) -> None:
    for arguments in (["-h"], ["--help"], ["help"]):
        done = host.run(*arguments)
        assert done.returncode == 0
        assert done.stdout.startswith("Usage: ./setup.sh [OPTION…] ")
        assert "./setup.sh serve" in done.stdout
    assert host.steps() == []


def test_serve_sets_up_once(host: Host) -> None:
    done = host.run("serve")
    assert done.returncode == 0, done.stderr
    assert host.steps() == ["venv", "packages cpu 500 serve", "models", "serve ENGINE="]
    host.run("serve", "--cpu")
    assert host.steps() == ["packages cpu 500 serve", "models", "serve ENGINE=cpu"]


def test_the_checks_and_tests_get_their_packages_and_words(host: Host) -> None:
    assert host.run("test", "-k", "ocr").returncode == 0
    assert host.steps() == ["venv", "packages dev 1000 test", "checks / -k ocr"]
    assert host.run("test", "--full", CHECKS_FAIL="1").returncode == 1
    assert host.steps() == ["packages full 2000 test", "checks / --full"]


def test_without_its_packages_nothing_is_begun(host: Host) -> None:
    for command in ("serve", "test"):
        assert host.run(command, PACKAGES_FAIL="1").returncode == 1
        assert host.steps()[-1].startswith("packages ")


def test_a_broken_environment_is_made_anew(host: Host) -> None:
    host.run("serve")
    (host.checkout / ".venv" / "bin" / "python").unlink()
    done = host.run("serve")
    assert "is broken or of another Python; making it again" in done.stdout
    assert host.steps()[0] == "venv"


def test_a_folder_that_is_no_environment_is_left_alone(host: Host) -> None:
    precious = host.checkout / ".venv" / "precious"
    precious.parent.mkdir()
    precious.write_text("mine")
    done = host.run("serve")
    assert done.returncode == 1
    assert "is not a virtual environment" in done.stderr
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(
    ("pythons", "words"),
    [
        ({}, "there is no python3 here.\n    Run: sudo apt-get install python3 python3-venv"),
        ({"python3": 9}, "the Python here is 3.9; the worker needs Python 3.10 to 3.13."),
        ({"python3": 14}, "PYTHON=/path/to/python3.12 ./setup.sh serve"),
    ],
)
def test_a_python_that_does_not_fit(tmp_path: Path, pythons: dict[str, int], words: str) -> None:
    host = Host(tmp_path, **pythons)
    done = host.run("serve")
    assert done.returncode == 1
    assert words in done.stderr
    assert host.steps() == []


def test_another_python_that_fits_is_taken(tmp_path: Path) -> None:
    assert Host(tmp_path, python3=14, python3_12=12).run("serve").returncode == 0


def test_a_python_that_is_named_must_fit(tmp_path: Path) -> None:
    host = Host(tmp_path, python3=12, old=8)
    done = host.run("serve", PYTHON=str(host.bin / "old"))
    assert done.returncode == 1
    assert "is not Python 3.10 to 3.13" in done.stderr


def test_no_venv_module(host: Host) -> None:
    done = host.run("serve", NO_VENV="1")
    assert done.returncode == 1
    assert "no venv module.\n    Run: sudo apt-get install python3.12-venv" in done.stderr


def test_root_gets_the_venv_module_installed(host: Host) -> None:
    host.root_with_apt()
    done = host.run("serve", NO_VENV="1")
    assert done.returncode == 0, done.stderr
    assert host.steps()[:3] == ["apt-get update ", "apt-get install python3.12-venv", "venv"]


def test_root_gets_python_installed(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.root_with_apt()
    done = host.run("serve")
    assert host.steps() == ["apt-get update ", "apt-get install python3 python3-venv"]
    assert done.returncode == 1  # this apt-get brought none
    assert "apt-get brought no python3 that runs" in done.stderr


def test_a_bad_setting_is_told_before_anything_is_fetched(host: Host) -> None:
    done = host.run("serve", SETTINGS_WRONG="HAILO_BATCH=64: it takes a whole number.", SETTINGS_WORDS="NOTE: a hint")
    assert done.returncode == 1
    assert host.steps() == [], "neither packages nor models"
    assert "    NOTE: a hint\n    HAILO_BATCH=64: it takes a whole number.\n" in done.stdout
    assert "a setting is not right; the line above says which" in done.stderr


def test_a_hint_stops_nothing(host: Host) -> None:
    done = host.run("serve", SETTINGS_WORDS="NOTE: CLIP_BACKENDS has no effect")
    assert done.returncode == 0
    assert "    NOTE: CLIP_BACKENDS has no effect\n" in done.stdout
    assert host.steps()[-1] == "serve ENGINE="


def test_what_was_answered_about_the_library_is_set_for_models_and_worker(host: Host) -> None:
    done = host.run("serve", LIBRARY="CLIP_BACKEND=vit_b_32\nFACE_DETECTOR=buffalo_l")
    assert done.returncode == 0, done.stderr
    assert host.steps()[-2:] == ["models for vit_b_32", "serve ENGINE= buffalo_l"]


def test_where_the_question_was_not_answered_nothing_is_fetched(host: Host) -> None:
    done = host.run("serve", LIBRARY="stopped.\nRun: ./setup.sh serve", LIBRARY_CODE="1", SUDO_USER="me")
    assert (done.returncode, host.steps()) == (1, [])
    assert done.stderr == "\nsetup.sh: stopped.\n    Run: sudo ./setup.sh serve\n"
    done = host.run("serve", LIBRARY_CODE="130")
    assert (done.returncode, done.stderr, host.steps()) == (130, "", []), "as after Ctrl-C"
    done = host.run("serve", LIBRARY_CODE="1")
    assert "python3-minimal is too little: sudo apt-get install python3" in done.stderr
    assert host.steps() == []


def test_the_settings_of_tests_are_not_those_of_a_worker(host: Host) -> None:
    assert "a setting is not right" not in host.run("test", SETTINGS_WRONG="x").stderr


@pytest.mark.parametrize("arguments", [["serv"], ["serve", "--gpu"]])
def test_what_it_does_not_know(host: Host, arguments: list[str]) -> None:
    done = host.run(*arguments)
    assert done.returncode == 1
    assert arguments[-1] in done.stderr
    assert host.steps() == []
