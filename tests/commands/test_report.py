"""The report: it comes whatever is broken, says what is wrong first, and holds nothing personal."""

import http.server
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hailo_sim import Rig, simulated
from hailo_sim.sysfs import make_root
from hailo_worker import models_folder
from project import PROJECT
from serving import FakeTasks, fake_services, live
from worker_process import free_port, serving

from ml_target.__main__ import main
from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G, TINYCLIP
from ml_target.config import Settings
from ml_target.diagnostics import timing
from ml_target.diagnostics.redact import Redactor
from ml_target.diagnostics.report import command as report
from ml_target.diagnostics.report import log as report_log
from ml_target.diagnostics.report import runs as report_runs
from ml_target.diagnostics.report import section as report_section
from ml_target.diagnostics.report import worker as report_worker
from ml_target.diagnostics.report.card import card, kernel_log
from ml_target.diagnostics.report.host import host, versions
from ml_target.diagnostics.report.log import log_section
from ml_target.diagnostics.report.runs import Runs
from ml_target.diagnostics.report.section import Section, guarded, run_module, stop_running
from ml_target.diagnostics.report.settings import Environment, models_section, settings_section
from ml_target.diagnostics.report.worker import ask, request_times, worker_section
from ml_target.log.ring import LIMIT, LogRing, keep_last_lines, kept_logs

Capture = pytest.CaptureFixture[str]
NOON = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PROJECT), "ENGINE": "cpu", **more}


def command(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ml_target", "report", *arguments],
        env=environment(**settings), cwd=cwd, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def section_of(text: str, title: str) -> str:
    """The fenced text below a heading."""
    found = re.search(rf"^## {re.escape(title)}\n\n(`+)text\n(.*?)\n\1$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{title} is not in it:\n{text}"
    return found.group(2)


# ------------------------------------------------------------- versions, host


def test_versions_and_host_say_what_a_report_needs() -> None:
    told = versions()
    for words in ("immich-ml-hailo ", "numpy ", "pillow ", "onnxruntime ", "libjpeg_turbo ", "python  "):
        assert words in told.text
    assert told.wrong == []
    told = host()
    for words in ("kernel ", "page size ", "processor ", "cores ", "memory  ", "limits ", "C library", "as user "):
        assert words in told.text


def test_a_package_that_is_missing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.diagnostics.report.host._version", lambda name: "" if name == "fastapi" else "1")
    assert versions().wrong == ["not installed: fastapi. Install this project again, with its packages"]


def test_limits_of_a_container_and_memory_that_ran_out(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, value in {
        "memory.max": str(2 << 30),
        "cpu.max": "150000 100000",
        "memory.events": "low 0\noom_kill 3",
    }.items():
        (group / name).write_text(value)
    told = host(tmp_path)
    assert "cpu.max 150000 100000, memory.max 2.00 GiB" in told.text
    assert told.wrong == ["memory ran out 3 times in this container: raise its limit, or load fewer models"]


# ----------------------------------------------------------------------- card


def test_the_card_as_the_kernel_sees_it(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root", width=1, node_mode=0o600)
    text = card(root).text
    assert "card           0000:01:00.0, driver hailo" in text
    assert re.search(r"current_link_width +1\n", text)
    assert re.search(r"max_link_width +4\n", text)
    assert "/dev/hailo0: NO DEVICE, mode 600" in text
    assert "driver         4.23.0" in text
    assert "parameter    force_desc_page_size = 0" in text
    assert "hailo_chardev: hailo0" in text


def test_no_card_and_no_sysfs(tmp_path: Path) -> None:
    text = card(tmp_path / "nothing").text
    assert "no Hailo card on the PCI bus" in text
    assert "hailo_pci is not loaded" in text


def test_the_kernel_log_is_only_that_of_the_card(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    (root / "dev/kmsg").write_text(
        "6,1,5000000,-;hailo 0000:01:00.0: Probing on: 1e60:2864...\n"
        " SUBSYSTEM=pci\n"
        "6,2,6000000,-;usb 1-1: SerialNumber: 1234\n"
        "4,3,7000000,-;pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0\n"
        "3,4,8000000,-;hailo 0000:01:00.0: Failed writing fw control, error -110\n"
        "3,5,9000000,-;Out of memory: Killed process 7 (firefox) total-vm:1kB\n"
        "3,6,9000001,-;Out of memory: Killed process 8 (python3) total-vm:1kB\n"
    )
    told = kernel_log(root)
    assert [line.split("  ")[-1][:12] for line in told.text.splitlines()] == [
        "hailo 0000:0", "pcieport 000", "hailo 0000:0", "Out of memor",
    ]  # fmt: skip
    assert "firefox" not in told.text
    assert len(told.wrong) == 1
    assert "Failed writing fw control" in told.wrong[0]


def test_a_crash_in_the_library_is_shown_and_is_no_error_of_the_driver(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    crash = "python3[9]: segfault at 5 ip 7 sp 8 error 4 in libhailort.so.4.23.0[231ba0,7fb6ffa81000+58f000]"
    (root / "dev/kmsg").write_text(f"6,1,5000000,-;{crash}\n")
    told = kernel_log(root)
    assert crash in told.text
    assert told.wrong == []
    (root / "dev/kmsg").write_text("3,4,8000000,-;hailo: Failed reading device BARs, error -5\n")
    assert kernel_log(root).wrong[0].startswith("the kernel log has an error of the driver, the last: 8.000")


def test_a_kernel_log_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("shutil.which", lambda name: None)  # no dmesg, which might be allowed to
    told = kernel_log()
    assert told.text == "may not be read here. On the host: sudo dmesg | grep -iE 'hailo|oom-kill'"
    assert told.wrong == []


# ------------------------------------------------------------------- settings


def test_wrong_settings_are_told_and_the_rest_is_used() -> None:
    given = {
        "ENGINE": "gpu", "IMMICH_PORT": "3010", "MAX_FACES": "-1", "HF_TOKEN": "secret-token",
        "CLIP_BACKENDS": "siglip", "MODELS_MIRROR": "https://me:pw@files.lan/x", "EDITOR": "vim", "LOG_LEVEL": "loud",
    }  # fmt: skip
    read = Environment.read(given)
    assert read.settings.port == 3010
    assert read.settings.engine == "auto"
    assert len(read.problems) == 2
    assert "ENGINE" not in read.usable
    assert read.usable["MODELS_MIRROR"] == given["MODELS_MIRROR"]
    told = settings_section(read, given)
    assert [words.split(":")[0] for words in told.wrong] == ["settings", "settings", "settings"]
    assert told.wrong[2] == (
        "settings: CLIP_BACKENDS has no effect: there is no such setting. CLIP_BACKEND was meant, perhaps."
    )
    assert "auto, hailo, cpu" in told.wrong[0]
    text = Redactor().clean(told.text)
    assert "ENGINE=gpu    (WRONG)" in text
    assert "LOG_LEVEL=loud    (taken as info)" in text
    assert "IMMICH_PORT=3010\n" in text
    assert "MODELS_MIRROR=https://***@<host>/x" in text
    assert "no settings of these names:\nCLIP_BACKENDS=siglip\nHF_TOKEN=***" in text
    assert "EDITOR" not in text
    for secret in ("secret-token", "me:pw", "files.lan"):
        assert secret not in text


def test_model_files_with_hashes_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "ppocrv5_dict.txt").write_text("a\nb\n")
    (folder / "mine.hef").write_bytes(b"abc")
    told = models_section(Environment.read({"ENGINE": "cpu", "MODELS_DIR": str(folder)}))
    assert re.search(r"ocr +damaged .* ppocrv5_dict\.txt", told.text)
    assert re.search(r"faces +MISSING +scrfd_2\.5g\.onnx", told.text)
    assert re.search(r" 3  ba7816bf8f01cfea  mine\.hef", told.text)
    assert any("ppocrv5_dict.txt" in words for words in told.wrong)
    assert "model files are missing, so their tasks are off. Fetch them: " in told.wrong[-1]


def test_model_files_without_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.hef").write_bytes(b"abc")
    monkeypatch.setitem(sys.modules, "ml_target.store.inventory", None)
    told = models_section(Environment.read({"ENGINE": "cpu", "MODELS_DIR": str(tmp_path)}))
    assert "ba7816bf8f01cfea  mine.hef" in told.text
    assert told.wrong[0].startswith("model files: ModuleNotFoundError")


# ------------------------------------------------------------ sections, runs


def test_a_section_that_fails_or_hangs_says_so() -> None:
    def fails() -> Section:
        raise ZeroDivisionError("by nothing")

    told = guarded("X", fails, 5)
    assert told.wrong == ["X: failed (ZeroDivisionError: by nothing)"]
    assert guarded("X", lambda: sys.exit(3), 5).wrong == ["X: failed (SystemExit: 3)"]
    waiting = threading.Event()

    def hangs() -> Section:
        waiting.wait(60)
        return Section("X")

    started = time.monotonic()
    assert guarded("X", hangs, 0.2).wrong == ["X: no answer within 0.2 s"]
    assert time.monotonic() - started < 20
    waiting.set()


def module(folder: Path, text: str) -> dict[str, str]:
    """The environment in which a module named `victim` holds this."""
    (folder / "victim.py").write_text(text)
    return environment(PYTHONPATH=str(folder))


def test_a_process_tells_its_progress_and_what_it_printed(tmp_path: Path) -> None:
    text = (
        "import sys\nprint('checking: a', file=sys.stderr)\nprint('noise', file=sys.stderr)\nprint('out')\nsys.exit(3)"
    )
    told: list[str] = []
    outcome = run_module("victim", [], module(tmp_path, text), 60, told.append, ("checking:",))
    assert (outcome.code, outcome.out, outcome.err, outcome.ended) == (3, "out", "checking: a\nnoise", "")
    assert told == ["checking: a"]


def test_a_process_that_hangs_is_ended_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_section, "GRACE_S", 1.0)
    text = """
import signal, time
print("begun", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def stuck():
    time.sleep(600)
stuck()
"""
    started = time.monotonic()
    outcome = run_module("victim", [], module(tmp_path, text), 3, print)
    assert time.monotonic() - started < 30
    assert (outcome.code, outcome.out) == (None, "begun")
    assert "in stuck" in outcome.err
    assert outcome.ended.startswith("stopped after ")


def test_a_process_that_crashes_is_told(tmp_path: Path) -> None:
    outcome = run_module(
        "victim", [], module(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"), 60, print
    )
    assert outcome.ended == "ended by SIGSEGV: it crashed, or memory ran out"
    assert not list(tmp_path.glob("core*"))


def test_a_process_that_floods_is_cut(tmp_path: Path) -> None:
    outcome = run_module("victim", [], module(tmp_path, "print('x' * 3_000_000)\nprint('the end')"), 60, print)
    assert len(outcome.out) <= report_section.OUTPUT
    assert outcome.out.endswith("the end")


def test_ctrl_c_ends_what_runs(tmp_path: Path) -> None:
    variables = module(tmp_path, "import time\ntime.sleep(600)")
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(run_module("victim", [], variables, 600, print)))
    waiting.start()
    deadline = time.monotonic() + 30
    while not report_section._running and time.monotonic() < deadline:
        time.sleep(0.01)
    stop_running()
    waiting.join(30)
    assert found[0].code is not None
    assert found[0].code < 0


@pytest.mark.parametrize(
    ("name", "text", "wrong", "right"),
    [
        (
            "doctor",
            "print('ok  a\\nWRONG  driver  is old\\n   -> update it\\n\\n1 wrong')\nexit(1)",
            ["doctor: driver is old -> update it"],
            [],
        ),
        ("doctor", "print('nothing is wrong')", [], ["doctor: nothing is wrong"]),
        ("doctor", "raise ImportError('x.so.4')", ["doctor: exit code 1: ImportError: x.so.4"], []),
        ("selfcheck", "print('x\\n\\nright: 9 right')", [], ["selfcheck: right: 9 right"]),
        ("selfcheck", "print('x\\n\\nWRONG: 1 WRONG')\nexit(1)", ["selfcheck: WRONG: 1 WRONG"], []),
        ("times", "print('scrfd  hailo  FAILED: no card')\nexit(1)", ["times: scrfd hailo FAILED: no card"], []),
    ],
)  # fmt: skip
def test_what_the_runs_come_to(
    name: str, text: str, wrong: list[str], right: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def instead(_: str, *rest: Any) -> Any:
        return run_module("victim", *rest)

    monkeypatch.setattr(report_runs, "run_module", instead)
    section = getattr(Runs(module(tmp_path, text), print), name)()
    assert (section.wrong, section.right) == (wrong, right)


# --------------------------------------------------------------------- worker


def test_without_a_worker(tmp_path: Path) -> None:
    answer = ask(Settings(host="127.0.0.1", port=free_port()))
    assert not answer.reached
    assert "No worker answers here" in worker_section(answer).text


@contextmanager
def another_program() -> Iterator[int]:
    """Something else on a port, which answers everything with its own page."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"message": "something else"}')

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_another_program_on_the_port_is_told() -> None:
    with another_program() as port:
        answer = ask(Settings(host="127.0.0.1", port=port))
        assert answer.reached
        assert not answer.ours
        assert worker_section(answer).wrong == [
            f"another program listens on 127.0.0.1 port {port}: set IMMICH_PORT to a free port, or stop it"
        ]


def test_the_running_worker_is_asked_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_worker, "TASK_S", 0.05)
    tasks = FakeTasks()
    with live(lambda _: fake_services(tasks, off=("ocr",))) as (client, _):
        deadline = time.monotonic() + 30
        while client.get("/ping").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        settings = Settings(host="127.0.0.1", port=client.base_url.port or 0)
        answer = ask(settings)
        told = worker_section(answer)
        assert answer.ready
        assert told.right == [
            "the worker here is ready on engine cpu, with clip.visual, clip.textual, facial-recognition"
        ]
        assert told.wrong == ["ocr is off: no such file. Put it into the models folder."]
        assert "names_of_this_width" not in told.text
        times = request_times(settings, answer, print)
        assert times.wrong == []
        rows = [line.split()[0] for line in times.text.splitlines()[1:]]
        assert rows == ["clip.visual", "clip.textual", "facial-recognition"]
        assert all(line.count(" ms") == 2 for line in times.text.splitlines()[1:])
        assert tasks.most_running >= 2, "eight at once"
        tasks.fail_with = RuntimeError("broken")
        failed = request_times(settings, answer, print)
        assert len(failed.wrong) == 3
        assert "status 500" in failed.wrong[0]


# ------------------------------------------------------------------------ log


@pytest.fixture
def ring() -> Iterator[LogRing]:
    made = LogRing(free_port())
    yield made
    made.close()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, __file__, 1, text, (), None)


def test_the_ring_keeps_the_start_and_the_end(ring: LogRing) -> None:
    for number in range(20_000):
        ring.handle(record(f"line {number}"))
    ring.handle(record("x" * 100_000))
    size = os.fstat(ring._file).st_size
    assert size == ring._size <= LIMIT
    text = os.pread(ring._file, size, 0).decode()
    lines = text.splitlines()
    assert lines[:3] == ["line 0", "line 1", "line 2"]
    assert "[lines left out]" in lines
    assert lines[-2] == "line 19999"
    assert lines[-1].endswith("x [cut]")
    assert all(re.fullmatch(r"line \d+|\[lines left out\]|x+ \[cut\]", line) for line in lines), "no line is torn"


def test_a_log_is_found_by_its_port_and_goes_with_its_owner(ring: LogRing) -> None:
    ring.handle(record("hello"))
    port = int(str(Path(f"/proc/self/fd/{ring._file}").readlink()).rpartition("-")[2].partition(" ")[0])
    assert (port, os.getpid(), "hello\n") in list(kept_logs())
    assert not os.get_inheritable(ring._file), "a helper process must not keep it"
    ring.close()
    assert port not in [at for at, _, _ in kept_logs()]


def test_without_such_memory_the_worker_serves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    before = list(logging.getLogger().handlers)
    keep_last_lines(1)
    assert logging.getLogger().handlers == before


def test_a_log_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("2026-11-26 18:00:00,000 ERROR ml_target.scheduling.arbiter: the card is lost\nlast\n")
    told = log_section(str(file), 1)
    assert told.text.endswith("last")
    assert told.wrong == ["the log has an error, the last: ml_target.scheduling.arbiter: the card is lost"]


def test_no_log_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_log, "kept_logs", lambda: iter(()))
    assert "docker logs --tail 300 immich-ml-hailo" in log_section(None, 1).text


# ----------------------------------------------------------------------- text


def test_what_is_wrong_comes_first_and_nothing_can_end_a_fence() -> None:
    sections = [
        Section("One", "a ```` b\n```\n## Two", ["it is <b>broken</b>\nfor anna@example.org"], ["fine"]),
        Section("Two", "/home/anna/x 10.0.0.7"),
    ]
    text = report.as_markdown(sections, NOON, Redactor())
    assert text.startswith("# Report of immich-ml-hailo ")
    assert text.index("**Wrong: 1**") < text.index("- it is ‹b›broken‹/b› for ‹mail›") < text.index("## One")
    assert section_of(text, "One") == "a ```` b\n```\n## Two"
    assert section_of(text, "Two") == "~/x <address 1>"


def test_the_report_fits_into_an_issue() -> None:
    rows = "\n".join(f"row {n} of many" for n in range(5000))
    limits = (4000, 4000, 4500, 5000, 4000, 6000, 5000, 7000, 7000, 4000)
    sections = [Section(f"S{n}", rows, most=most) for n, most in enumerate(limits)]
    sections.append(Section(report_log.TITLE, rows, most=12_000, keep_end=True))
    text = report.as_markdown(sections, NOON, Redactor())
    assert len(text) < 65_536
    assert "characters left out]" in section_of(text, "S0")
    assert section_of(text, "S0").startswith("row 0 of many")
    assert section_of(text, report_log.TITLE).endswith("row 4999 of many")


# -------------------------------------------------------------------- command


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
    assert "none.txt is no file" in capsys.readouterr().err


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
    result = command(
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


def test_beside_a_running_worker_it_asks_that_one(tmp_path: Path) -> None:
    """Nothing is loaded a second time; the log comes from the worker's memory."""
    folder = tmp_path / "models"
    folder.mkdir()
    with serving(tmp_path / "log", MODELS_DIR=str(folder), IMMICH_HOST="127.0.0.1") as (process, port):
        deadline = time.monotonic() + 60
        while not ask(Settings(host="127.0.0.1", port=port)).ours and time.monotonic() < deadline:
            time.sleep(0.1)
        settings = {"MODELS_DIR": str(folder), "IMMICH_HOST": "127.0.0.1", "IMMICH_PORT": str(port)}
        result = command("--output", "report.md", cwd=tmp_path, **settings)
        assert result.returncode == 0, result.stderr
        text = (tmp_path / "report.md").read_text()
        assert '"tasks": {' in section_of(text, "The worker that runs here")
        assert f"kept by the worker, process {process.pid}" in section_of(text, "Log of the worker")
        assert f"listening on 127.0.0.1 port {port}" in section_of(text, "Log of the worker")
        assert "a worker runs here" in section_of(text, "Selfcheck and times of the networks")
        assert "## Times of the networks" not in text
        assert "report: Doctor" in result.stderr
        process.send_signal(19)  # SIGSTOP: as one that hangs in the driver
        result = command("--quick", cwd=tmp_path, **settings)
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


def test_settings_of_json_survive() -> None:
    """The status of a worker may hold anything a client sent."""
    odd = {
        "tasks": {"ocr": "x"},
        "engine": "cpu",
        "clip": "none",
        "names": ["```", "\x1b[31m", "a" * 5000],
        "ready": True,
    }
    answer = report_worker.Answer("127.0.0.1 port 1", True, "200 pong", True, json.loads(json.dumps(odd)))
    told = worker_section(answer)
    text = report.as_markdown([told], NOON, Redactor())
    assert "<5" in text
    assert "\x1b" not in text


# -------------------------------------------------------------- times, a card


@pytest.fixture(scope="module")
def card_models(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All networks of the default settings, small, for the simulated card."""
    return models_folder(wheel_models, tmp_path_factory.getbasetemp())


def rows_of(text: str) -> dict[str, list[str]]:
    """Network and engine -> what follows, of every line of the table."""
    return {" ".join(line.split()[:2]): line.split()[2:] for line in text.splitlines()[1:] if line.strip()}


@pytest.fixture
def timed(card_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    for name, value in {"ENGINE": "hailo", "MODELS_DIR": str(card_models), "CLIP_BACKEND": "tinyclip"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("timed")
def test_every_network_is_timed_on_the_card(capsys: Capture) -> None:
    rig = Rig(clock="virtual")
    with simulated(rig):
        assert timing.main(["--seconds", "0.05"]) == 0
    assert not rig.held
    told = capsys.readouterr()
    rows = rows_of(told.out)
    for network in (TINYCLIP.visual, TINYCLIP.textual, SCRFD_2_5G, ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION):
        load, alone, burst = rows[f"{network.name} hailo"][:3]
        assert float(load) >= 0
        assert float(alone) > 0
        assert float(burst) > 0
        assert f"timing: {network.name} on hailo" in told.err
    assert " ".join(rows["scrfd_2.5g cpu"]) == "its file is not there"


@pytest.mark.usefixtures("timed")
def test_a_card_that_is_held_or_fails_is_told(capsys: Capture) -> None:
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    with simulated(rig):
        assert timing.main(["--seconds", "0.05"]) == 1
    assert "hailo  FAILED: " in capsys.readouterr().out
    rig = Rig(clock="virtual")
    rig.faults.refuse_configure(model="scrfd_2.5g")
    with simulated(rig):
        assert timing.main(["--seconds", "0.05"]) == 1
    rows = rows_of(capsys.readouterr().out)
    assert rows["scrfd_2.5g hailo"][0] == "FAILED:"
    assert float(rows["arcface_r50 hailo"][0]) >= 0, "the others are timed all the same"


def test_without_any_file_the_times_name_the_network_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As the doctor does, and not the stand-in, which is not there either."""
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("ENGINE", "cpu")
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    assert timing.main(["--seconds", "0.05"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert " ".join(rows["arcface_r50 cpu"]) == "its file is not there"
    assert "face_embedder_112_512 cpu" not in rows


def test_the_networks_are_timed_on_the_processor(
    face_models: Path, wheel_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for file in (*face_models.glob("*.onnx"), wheel_models / "ppocrv5_mobile_rec.onnx"):
        (tmp_path / file.name).symlink_to(file.resolve())
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    monkeypatch.setenv("ENGINE", "cpu")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    assert timing.main(["--seconds", "0.1"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert float(rows["scrfd_2.5g cpu"][1]) > 0
    assert float(rows["face_embedder_112_512 cpu"][1]) > 0, "the stand-in, as the worker takes it"
    assert float(rows["paddle_ocr_v5_mobile_recognition cpu"][1]) > 0
    assert " ".join(rows["paddle_ocr_v5_mobile_detection cpu"]) == "its file is not there"


def test_a_card_call_that_never_returns_does_not_hang_the_report(
    card_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the GIL, so nothing in that process can end it; what was measured before is told, and where it hangs."""
    monkeypatch.setattr(report_section, "GRACE_S", 2.0)
    monkeypatch.setattr(report_runs, "TIMES_S", 12.0)
    told: list[str] = []
    variables = environment(
        PYTHONPATH=f"{PROJECT / 'tests' / 'support' / 'hailo_sim' / 'site'}:{PROJECT}",
        ENGINE="hailo",
        MODELS_DIR=str(card_models),
        HAILO_SIM_FAULTS="slow:configure:600",
    )  # fmt: skip
    started = time.monotonic()
    section = Runs(variables, told.append).times()
    assert time.monotonic() - started < 60
    assert section.wrong[0].startswith("Times of the networks: stopped after ")
    assert "network " in section.text
    assert "most recent call first" in section.text
    assert "_configure" in section.text
    assert told[0].startswith("timing: ")


def test_the_whole_report_with_a_simulated_card(card_models: Path, tmp_path: Path) -> None:
    result = command(
        cwd=tmp_path, PYTHONPATH=f"{PROJECT / 'tests' / 'support' / 'hailo_sim' / 'site'}:{PROJECT}", ENGINE="hailo",
        MODELS_DIR=str(card_models), HAILO_SIM_CLOCK="virtual", IMMICH_HOST="127.0.0.1", IMMICH_PORT=str(free_port()),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    text = result.stdout
    selfcheck = section_of(text, "Selfcheck")
    assert "identity     HAILO8\nfirmware     4.23.0\n" in selfcheck
    assert "temperature" in selfcheck
    assert "hailort 4.23.0" in section_of(text, "Versions")
    assert re.search(r"scrfd_2\.5g +hailo +[\d.]+ +[\d.]+ +[\d.]+", section_of(text, "Times of the networks"))
    assert "scrfd_2.5g.hef" in section_of(text, "Model files")
    assert "selfcheck: " in text[: text.index("## Versions")]
