"""A terminal that cannot print a letter gets a replacement; no command ends over it."""

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from project import PROJECT

from ml_target.__main__ import main
from ml_target.log.terminal import printable_json, replace_unprintable

NAME = "Fotos→…"
COMMANDS = (
    ("--help",),
    ("predict", f"{NAME}.jpg", "--task", "ocr"),
    ("models", "fetch", NAME),
    ("models", "list"),
    ("doctor",),
    ("inspect", f"{NAME}.hef"),
    ("selfcheck", f"{NAME}.jpg"),
    ("healthcheck",),
    ("bogus→",),
)
REPEATS_THE_NAME = {"predict", "fetch", "inspect", "selfcheck"}
CASES = [*((command, "ascii") for command in COMMANDS), (COMMANDS[5], "latin-1")]
# Left alone, Python would take this locale for UTF-8.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(("command", "encoding"), CASES)
def test_every_command(
    command: tuple[str, ...], encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"ENGINE": "cpu", "MODELS_DIR": str(tmp_path), "IMMICH_PORT": "1", "IMMICH_LOG_LEVEL": "critical"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    written = io.BytesIO()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, encoding, "strict", write_through=True))
    with suppress(SystemExit):
        main(list(command))
    assert written.getvalue().strip()
    if REPEATS_THE_NAME & set(command):
        assert b"Fotos?" in written.getvalue()


def test_a_process_of_the_c_locale(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "ml_target", "models", "fetch", NAME],
        env={**kept, "PYTHONPATH": str(PROJECT), "MODELS_DIR": str(tmp_path), **C_LOCALE},
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
    )
    assert b"Fotos?" in done.stderr
    assert b"Traceback" not in done.stderr


def test_names_of_bytes_that_are_no_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", "strict"))
    replace_unprintable()
    print("\udcff.jpg", flush=True)
    assert written.getvalue() == b"?.jpg\n"


def test_what_is_no_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    replace_unprintable()


def test_json_is_escaped_and_never_another_value(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"text": ["Öl → 東京 \U0001f600", 'a "quoted" \\ one'], "score": 0.1}
    text = json.dumps(value, ensure_ascii=False, indent=1)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "latin-1"))
    assert printable_json(text).isascii()
    assert json.loads(printable_json(text)) == value
    assert printable_json(text).count("\n") == text.count("\n"), "its layout stays"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert printable_json(text) == text
