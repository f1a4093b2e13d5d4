"""What starting ends with: readable at 80 columns, red where a fault is, and never with an address that is a guess."""

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import FakeTasks, fake_services, live

from ml_target.errors import DamagedFileError, MissingFileError, Unavailable
from ml_target.log.colour import PLAIN, RED, RedErrors, takes_colour
from ml_target.log.requests import set_up
from ml_target.log.ring import keep_last_lines, kept_logs
from ml_target.runtime import summary
from ml_target.runtime.registry import Services
from ml_target.runtime.summary import address, summarise
from ml_target.tasks.clip.task import CLIP
from ml_target.tasks.contract import ImmichSetting
from ml_target.tasks.service import Service

URL = ImmichSetting("URL", "http://h:1")
BACKENDS = ("tinyclip", "siglip", "siglip2", "auto")


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a container, and in a network."""
    monkeypatch.setattr(summary, "contained", lambda: False)
    monkeypatch.setattr(summary, "own_address", lambda: "192.168.7.5")


def services_with(**faces: Any) -> Services:
    made = fake_services(FakeTasks())
    return Services({**made.of, "facial-recognition": [Service("facial-recognition", **faces)]})


def test_all_that_a_person_wants_to_know() -> None:
    text = str(
        summarise(fake_services(FakeTasks()), "the Hailo-8 card", ImmichSetting("URL", "http://192.168.7.5:3003"))
    )
    assert text.splitlines() == [
        "4 of 4 tasks are on, running on the Hailo-8 card.",
        "",
        "  search             on   tinyclip, 512 numbers",
        "  queries            on   tinyclip",
        "  faces              on",
        "  text               on   PP-OCRv5_mobile",
        "",
        "  In Immich, Administration > Settings > Machine Learning Settings:",
        "  URL                http://192.168.7.5:3003",
        "  CLIP model         ViT-B-32__openai (hides TinyCLIP: keep other workers off).",
        "                     For a new library: RN101__yfcc15m, which no worker of",
        "                     Immich serves by default. A library that has vectors keeps",
        "                     its name: a change of name deletes all of them.",
        "  Facial recognition buffalo_l",
        "  OCR model          PP-OCRv5_mobile",
    ]


def test_the_status_page_recommends_a_name_and_says_why() -> None:
    shown = {s["space"]: s for s in CLIP.status(fake_services(FakeTasks(), backend="auto").of["clip"])["clip"]}
    assert shown["tinyclip"]["recommended_name"] == "RN101__yfcc15m"
    assert "no worker of Immich serves by default" in shown["tinyclip"]["why"]
    assert "a change of name deletes all of them" in shown["tinyclip"]["why"]
    assert "RN101__yfcc15m" in shown["tinyclip"]["names_of_this_width"]
    assert shown["siglip"]["recommended_name"] == shown["siglip"]["immich_name"]
    assert shown["siglip"]["why"] == "It is this model's own name in Immich."


def test_what_is_missing_is_told_in_short_and_what_is_a_fault_in_red() -> None:
    missing = summarise(services_with(never=MissingFileError("long", "long", "arcface_r50.hef is missing")), "x", URL)
    assert "  faces              OFF  arcface_r50.hef is missing" in missing.lines
    assert not missing.red
    assert "The lines above and /status say what to do." in str(missing)
    assert "3 of 4 tasks are on" in str(missing)
    assert "Facial recognition" not in str(missing)
    damage = DamagedFileError("long", "long", "arcface_r50.hef is damaged")
    fault = summarise(services_with(never=damage, broken=True), "x", URL)
    assert [fault.lines[n] for n in fault.red] == ["  faces              OFF  arcface_r50.hef is damaged"]


def test_a_reason_without_a_short_form_is_told_in_full_over_several_lines() -> None:
    """As when the card's answers change and its task is turned off."""
    long = "the card answered the same frame twice in different ways, which it never may, and is left alone. " * 3
    told = summarise(services_with(never=Unavailable(long), broken=True), "x", URL)
    assert " ".join(" ".join(told.lines[n].split()) for n in sorted(told.red)) == f"faces OFF {long.strip()}"
    assert len(told.red) > 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("off", [(), ("clip.visual",), ("clip.visual", "clip.textual", "facial-recognition", "ocr")])
def test_it_fits_eighty_columns(backend: str, off: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "contained", lambda: True)
    made = summarise(
        fake_services(FakeTasks(), backend=backend, off=off),
        "2 Hailo-8 cards and the processor",
        address("[::]", 65535),
    )
    assert max(map(len, made.lines)) <= 80
    names = ("ViT-B-32__openai", "ViT-B-16-SigLIP__webli", "ViT-B-32-SigLIP2-256__webli")
    shown = {name for name in names if name in str(made)}
    wanted = set(names) if backend == "auto" else {names[BACKENDS.index(backend)]}
    assert shown == (set() if "clip.visual" in off else wanted)
    assert ("In Immich" in str(made)) == (len(off) < 4)


# --------------------------------------------------------------------- address


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("[::]", "http://192.168.7.5:3003"),
        ("0.0.0.0", "http://192.168.7.5:3003"),
        ("10.1.2.3", "http://10.1.2.3:3003"),
        ("127.0.0.1", "http://127.0.0.1:3003 (from this machine alone: IMMICH_HOST=127.0.0.1)"),
        ("[::1]", "http://[::1]:3003 (from this machine alone: IMMICH_HOST=[::1])"),
        ("fd00::7", "http://[fd00::7]:3003"),
    ],
)
def test_the_address_to_type(host: str, shown: str) -> None:
    assert address(host, 3003).text == shown


def test_a_container_does_not_know_its_hosts_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_MARK", "PODMAN_MARK"):
        monkeypatch.setattr(summary, name, tmp_path / name)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert not summary.contained()
    monkeypatch.setenv("IMMICH_ML_IMAGE", "1")
    assert address("[::]", 3003) == ImmichSetting("URL", "http://THIS-MACHINE:3003", "(or the port it is published on)")
    monkeypatch.delenv("IMMICH_ML_IMAGE")
    (tmp_path / "PODMAN_MARK").touch()
    assert summary.contained()


@pytest.mark.usefixtures("outside")
def test_a_machine_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "own_address", lambda: "")
    assert address("[::]", 3003).text == "http://THIS-MACHINE:3003"


def test_its_own_address_is_one() -> None:
    found = summary.own_address()
    assert found == "" or len(found.split(".")) == 4
    assert not found.startswith("127.")


# ------------------------------------------------------------------------- log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "colour"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colour_only_where_it_does_good(stream: io.StringIO, environment: dict[str, str], colour: bool) -> None:
    assert takes_colour(stream, environment) == colour


def test_errors_and_marked_lines_are_red() -> None:
    def shown(level: int, message: str, **more: Any) -> str:
        record = logging.LogRecord("x", level, "f", 1, message, (), None)
        record.__dict__.update(more)
        handler = RedErrors(io.StringIO())
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        return handler.format(record)

    assert shown(logging.ERROR, "bad\nvery") == f"{RED}ERROR bad{PLAIN}\n{RED}very{PLAIN}"
    assert shown(logging.WARNING, "hm") == "WARNING hm"
    assert shown(logging.INFO, "a\nb\nc", red={1}) == f"INFO a\n{RED}b{PLAIN}\nc"


def test_the_log_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    terminal, plain = Terminal(), io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    try:
        for stream in (terminal, plain):
            monkeypatch.setattr(sys, "stderr", stream)
            set_up(logging.INFO)
            if stream is terminal:
                keep_last_lines(3999)
            logging.getLogger("x").error("bad https://me:secret@files.lan" if stream is terminal else "bad")
            if stream is terminal:
                kept = "".join(text for port, _, text in kept_logs() if port == 3999)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert terminal.getvalue().startswith(RED)
    assert "***@files.lan" in terminal.getvalue()
    assert "secret" not in terminal.getvalue()
    assert kept.endswith(" ERROR x: bad https://***@files.lan\n"), "no colour in what the report reads"
    assert plain.getvalue().endswith(" ERROR x: bad\n")
    assert RED not in plain.getvalue()


def test_the_worker_ends_its_start_with_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    damage = DamagedFileError("a.hef is damaged", "Fetch it again", "a.hef is damaged")
    made = services_with(never=damage, broken=True)
    with live(lambda _: made) as (client, _worker):
        assert client.get("/ping").status_code == 200
    off, last = (r for r in caplog.records if r.name == "ml_target.worker" and ("OFF" in r.getMessage()))
    assert (off.levelno, off.getMessage()) == (
        logging.ERROR,
        "task facial-recognition is OFF: a.hef is damaged. Fetch it again",
    )
    lines = last.getMessage().splitlines()
    assert lines[0].startswith("ready after ")
    assert [lines[n] for n in last.red] == ["  faces              OFF  a.hef is damaged"]  # type: ignore[attr-defined]
