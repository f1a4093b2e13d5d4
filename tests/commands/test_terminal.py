"""A terminal that cannot print a letter gets a replacement; no command ends over it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import PROJECT

from ml_target.log.terminal import printable_json, replace_unprintable

ASCII = {"PYTHONIOENCODING": "ascii:strict"}
LATIN_1 = {"PYTHONIOENCODING": "latin-1:strict"}
# Left alone, Python would take this locale for UTF-8.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAME = "Fotos→…"
COMMANDS = (
    ("-m", "ml_target", "--help"),
    ("-m", "ml_target", "predict", f"{NAME}.jpg", "--task", "ocr"),
    ("-m", "ml_target", "models", "fetch", NAME),
    ("-m", "ml_target", "models", "list"),
    ("-m", "ml_target.doctor"),
    ("-m", "ml_target.inspect_models"),
    ("-m", "ml_target.hef_inspect", f"{NAME}.hef"),
    ("-m", "ml_target.selfcheck", f"{NAME}.jpg"),
    ("-m", "ml_target.healthcheck"),
)
REPEATS_THE_NAME = {"predict", "fetch", "ml_target.hef_inspect", "ml_target.selfcheck"}
CASES = [*((command, ASCII) for command in COMMANDS), (COMMANDS[6], LATIN_1), (COMMANDS[2], C_LOCALE)]


@pytest.mark.parametrize(("command", "terminal"), CASES)
def test_every_command(command: tuple[str, ...], terminal: dict[str, str], tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    settings = {"ENGINE": "cpu", "MODELS_DIR": str(tmp_path), "IMMICH_PORT": "1", "IMMICH_LOG_LEVEL": "critical"}
    done = subprocess.run(
        [sys.executable, *command],
        env={**kept, "PYTHONPATH": str(PROJECT), **settings, **terminal},
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said, said.decode("latin-1")
    assert said.strip()
    if REPEATS_THE_NAME & set(command):
        assert b"Fotos?" in said


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
