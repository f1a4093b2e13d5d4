"""The report as a whole: it comes whatever is broken, says what is wrong first, and holds nothing personal."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from project import PROJECT
from report_run import NOON, run_report, section_of
from worker_process import environment, free_port, serving

from ml_target.__main__ import main
from ml_target.config import Settings
from ml_target.diagnostics.redact import Redactor
from ml_target.diagnostics.report import command as report
from ml_target.diagnostics.report import log as report_log
from ml_target.diagnostics.report import markdown
from ml_target.diagnostics.report.section import Section
from ml_target.diagnostics.report.worker import ask

Capture = pytest.CaptureFixture[str]


def test_what_is_wrong_comes_first_and_nothing_can_end_a_fence() -> None:
    sections = [
        Section("One", "a ```` b\n```\n## Two", ["it is <b>broken</b>\nfor anna@example.org"], ["fine"]),
        Section("Two", "/home/anna/x 10.0.0.7"),
    ]
    text = markdown.as_markdown(sections, NOON, Redactor())
    assert text.startswith("# Report of immich-ml-hailo ")
    assert text.index("**Wrong: 1**") < text.index("- it is ‹b›broken‹/b› for ‹mail›") < text.index("## One")
    assert section_of(text, "One") == "a ```` b\n```\n## Two"
    assert section_of(text, "Two") == "~/x <address 1>"


def test_the_report_fits_into_an_issue() -> None:
    rows = "\n".join(f"row {n} of many" for n in range(5000))
    limits = (4000, 4000, 4500, 5000, 4000, 6000, 5000, 7000, 7000, 4000)
    sections = [Section(f"S{n}", rows, most=most) for n, most in enumerate(limits)]
    sections.append(Section(report_log.TITLE, rows, most=12_000, keep_end=True))
    text = markdown.as_markdown(sections, NOON, Redactor())
    assert len(text) < 65_536
    assert "characters left out]" in section_of(text, "S0")
    assert section_of(text, "S0").startswith("row 0 of many")
    assert section_of(text, report_log.TITLE).endswith("row 4999 of many")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of one section."""
    monkeypatch.setattr(report, "_sections", lambda *_: iter([Section("One", "text")]))


@pytest.mark.usefixtures("short")
def test_where_the_report_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0
    assert "## One" in capsys.readouterr().out, "output that is sent somewhere gets it"
    assert main(["report", "--output", "-"]) == 0
    assert "## One" in capsys.readouterr().out
    assert main(["report", "--output", "mine.md"]) == 0
    assert "## One" in (tmp_path / "mine.md").read_text()
    assert "written to mine.md" in capsys.readouterr().err
    assert main(["report", "--output", "none/mine.md"]) == 1
    assert "none/mine.md cannot be written (No such file or directory); --output - prints it" in capsys.readouterr().err
    assert main(["report", "--log", "none.txt"]) == 2
    assert "none.txt is not a file" in capsys.readouterr().err


@pytest.mark.usefixtures("short")
def test_on_a_terminal_it_writes_a_file_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    here, spare = tmp_path / "here", tmp_path / "spare"
    here.mkdir()
    spare.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(spare))
    assert main(["report"]) == 0
    (file,) = here.iterdir()
    assert re.fullmatch(r"immich-ml-hailo-report-\d{8}-\d{6}\.md", file.name)
    opened = Path.open
    read_only = {str(here)}

    def refuse(self: Path, mode: str = "r", **more: Any) -> Any:
        if mode == "x" and str(self.absolute().parent) in read_only:
            raise OSError(30, "Read-only file system")
        return opened(self, mode, **more)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setenv("IMMICH_ML_IMAGE", "1")
    assert main(["report"]) == 0
    (file,) = spare.iterdir()
    told = capsys.readouterr().err
    assert "cannot be written (Read-only file system)" in told
    assert f"docker cp immich-ml-hailo:{file} ." in told
    read_only.add(str(spare))
    assert main(["report"]) == 0
    told_last = capsys.readouterr()
    assert "no folder can be written, so here it is" in told_last.err
    assert "## One" in told_last.out


def test_ctrl_c_writes_what_is_there(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(title: str, make: Any, seconds: float) -> Section:
        if title == "Doctor":
            raise KeyboardInterrupt
        return Section(title, "fine")

    monkeypatch.setattr(report, "guarded", interrupted)
    monkeypatch.setenv("IMMICH_PORT", str(free_port()))  # a worker may run on the default one
    assert main(["report"]) == 0
    text = capsys.readouterr().out
    assert section_of(text, "Doctor") == "Interrupted."
    assert "--quick, or interrupted" in section_of(text, "Selfcheck and times of the networks")


def test_it_comes_when_everything_is_broken(tmp_path: Path) -> None:
    """No numpy, no Pillow, a HailoRT that cannot be imported, wrong settings, no models: every section is there."""
    stubs = tmp_path / "stubs"
    for name in ("numpy", "PIL", "cv2", "hailo_platform"):
        (stubs / name).mkdir(parents=True)
        (stubs / name / "__init__.py").write_text(f"raise ImportError('lib{name}.so: cannot open shared object file')")
    home = tmp_path / "home" / "annabell"
    home.mkdir(parents=True)
    result = run_report(
        cwd=tmp_path, PYTHONPATH=f"{stubs}:{PROJECT}", HOME=str(home), USER="annabell", ENGINE="gpu", MAX_FACES="many",
        MODELS_DIR=str(home / "models"), IMMICH_HOST="127.0.0.1", IMMICH_PORT=str(free_port()),
        HF_TOKEN="hf_1234567890",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    text = result.stdout
    for title in (
        "Versions", "Host", "Card", "Kernel log", "Settings", "Model files", "Doctor", "The worker that runs here",
        "Selfcheck", "Times of the networks", "Log of the worker",
    ):  # fmt: skip
        assert section_of(text, title)
    summary = text[: text.index("## Versions")]
    assert "- settings: ENGINE=gpu: it takes one of auto, hailo, cpu" in summary
    assert "- doctor: exit code 1: ImportError: libnumpy.so" in summary
    assert "- model files: ImportError: libnumpy.so" in summary
    for private in ("annabell", "hf_1234567890", str(home)):
        assert private not in text
    assert len(text) < 65_536


@pytest.mark.slow
def test_beside_a_running_worker_it_asks_that_one(tmp_path: Path) -> None:
    """Nothing is loaded a second time; the log comes from the worker's memory."""
    folder = tmp_path / "models"
    folder.mkdir()
    with serving(tmp_path / "log", MODELS_DIR=str(folder), IMMICH_HOST="127.0.0.1") as (process, port):
        deadline = time.monotonic() + 60
        while not ask(Settings(host="127.0.0.1", port=port)).ours and time.monotonic() < deadline:
            time.sleep(0.1)
        settings = {"MODELS_DIR": str(folder), "IMMICH_HOST": "127.0.0.1", "IMMICH_PORT": str(port)}
        result = run_report("--output", "report.md", cwd=tmp_path, **settings)
        assert result.returncode == 0, result.stderr
        text = (tmp_path / "report.md").read_text()
        assert '"tasks": {' in section_of(text, "The worker that runs here")
        assert f"kept by the worker, process {process.pid}" in section_of(text, "Log of the worker")
        assert f"listening on 127.0.0.1 port {port}" in section_of(text, "Log of the worker")
        assert "a worker runs here" in section_of(text, "Selfcheck and times of the networks")
        assert "## Times of the networks" not in text
        assert "report: Doctor" in result.stderr
        process.send_signal(19)  # SIGSTOP: as one that hangs in the driver
        result = run_report("--quick", cwd=tmp_path, **settings)
    assert f"process {process.pid} is a worker for this port, and does not answer" in result.stdout


def test_a_log_through_standard_input(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ml_target", "report", "--quick", "--log", "-"],
        env=environment(MODELS_DIR=str(tmp_path), IMMICH_HOST="127.0.0.1", IMMICH_PORT=str(free_port())),
        cwd=tmp_path, input="one\ntwo from 10.1.2.3\n", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert section_of(result.stdout, "Log of the worker").endswith("one\ntwo from <address 1>")


@pytest.mark.parametrize("arguments", [("--help",), ("--bogus",)])
def test_help_and_what_is_unknown(arguments: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    told = capsys.readouterr()
    assert ended.value.code == (0 if arguments == ("--help",) else 2)
    assert "--output" in told.out + told.err
    assert "--log" in told.out + told.err
