"""tests/test.sh accepts a right worker, and each of its assertions fails for some wrong one."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_worker import Answer, Asked, FakeWorker, serving
from PIL import Image
from wrong_workers import WRONG

HERE = Path(__file__).resolve().parents[1]
SCRIPT = HERE / "test.sh"
PICTURE = HERE / "test.jpg"
EVERYTHING = frozenset({"clip.visual", "clip.textual", "facial-recognition", "ocr"})

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here (apt-get install curl)")


class Run:
    """What one run of the script printed."""

    def __init__(self, worker: FakeWorker, *options: str, by_port: bool = False, **variables: str) -> None:
        with serving(worker) as url:
            port = {"IMMICH_PORT": url.rpartition(":")[2]} if by_port else {}
            environment = {**os.environ, **variables, **port}
            done = subprocess.run(
                [shutil.which("bash") or "bash", SCRIPT, *options, PICTURE, *([] if by_port else [url])],
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        self.code, self.output = done.returncode, done.stdout + done.stderr
        self.passed = re.findall(r"^ok \d+ - (.*)$", self.output, re.MULTILINE)
        self.failed = set(re.findall(r"^not ok \d+ - (.*)$", self.output, re.MULTILINE))
        self.closing = done.stdout.rstrip().rpartition("\n")[2]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The script on a worker that answers rightly, with bash and curl and no other program."""
    tools = tmp_path_factory.mktemp("tools")
    (tools / "curl").symlink_to(str(shutil.which("curl")))
    return Run(FakeWorker(), PATH=str(tools))


@pytest.fixture(scope="module")
def wrong() -> dict[str, Run]:
    """The script on each wrong worker, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda twist: Run(FakeWorker(twist)), [twist for twist, _ in WRONG.values()])
        return dict(zip(WRONG, runs, strict=True))


def test_a_right_worker_passes(right: Run) -> None:
    assert right.failed == set(), right.output
    assert right.code == 0
    assert right.closing == f"{len(right.passed)} passed, 0 failed"
    assert "OFF" not in right.output
    assert len(right.passed) >= 19
    assert len(set(right.passed)) == len(right.passed), "two assertions of one name"


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_worker_is_caught(right: Run, wrong: dict[str, Run], name: str) -> None:
    run = wrong[name]
    assert run.failed == {each for each in right.passed if re.match(WRONG[name][1], each)}, run.output
    assert run.code == 1
    assert run.closing == f"{len(run.passed)} passed, {len(run.failed)} failed"


def test_every_assertion_can_fail(right: Run, wrong: dict[str, Run]) -> None:
    assert set(right.passed) - {name for run in wrong.values() for name in run.failed} == set()


# ------------------------------------------------------------------ tasks that are off


def test_tasks_that_are_off_must_refuse() -> None:
    run = Run(FakeWorker(off=frozenset({"clip.visual", "facial-recognition"}), width=768))
    assert run.failed == set(), run.output
    assert "# facial-recognition is OFF on this worker" in run.output
    assert "faces are off: refused with 503 and words" in run.passed
    assert "clip.textual holds exactly 768 finite numbers" in run.passed
    assert "one task that is off refuses the whole request" in run.passed
    assert "OFF, so only its refusal was tried: clip.visual facial-recognition. The worker's log" in run.output
    assert len(run.passed) >= 19


def test_a_task_that_is_off_and_answers_all_the_same_is_caught() -> None:
    off = frozenset({"clip.visual", "clip.textual", "ocr"})

    def answers_anyway(asked: Asked, answer: Answer) -> Answer:
        return (200, {"imageWidth": 1, "imageHeight": 1}) if answer[0] == 503 else answer

    run = Run(FakeWorker(answers_anyway, off))
    assert run.failed == {
        "clip.visual is off: refused with 503 and words",
        "clip.textual is off: refused with 503 and words",
        "ocr is off: refused with 503 and words",
        "one task that is off refuses the whole request",
    }, run.output


def test_expect_all_fails_for_a_task_that_is_off() -> None:
    """Of several models that are off it is the first that is asked for."""
    names = (("ViT-B-32__openai", 512), ("ViT-B-16-SigLIP__webli", 768))
    clip = [{"immich_name": name, "width": width, "on": False} for name, width in names]

    def announced(asked: Asked, answer: Answer) -> Answer:
        return (200, {**answer[1], "clip": clip}) if asked.path == "/status" else answer

    run = Run(FakeWorker(announced, off=EVERYTHING), "--expect-all")
    assert run.failed == {"all tasks are on (--expect-all)"}, run.output
    assert run.code == 1


def test_a_worker_is_asked_for_the_models_that_it_announces() -> None:
    """Of several for the first that is on. One that serves PP-OCRv6 alone refuses the name of Immich's default."""
    announced: dict[str, list[dict[str, Any]]] = {
        "clip": [
            {"immich_name": "ViT-B-32__openai", "width": 512, "on": False},
            {"immich_name": "ViT-B-32-SigLIP2-256__webli", "width": 1024, "on": True},
        ],
        "ocr": [{"immich_name": "PP-OCRv5_mobile", "on": False}, {"immich_name": "PP-OCRv6_small"}],
    }

    def picky(asked: Asked, answer: Answer) -> Answer:
        if asked.path == "/status":
            return 200, {**answer[1], **announced}
        if answer[0] != 200 or asked.path != "/predict":
            return answer
        for task, kinds in (("clip", ("visual", "textual")), ("ocr", ("detection", "recognition"))):
            names = [asked.model(task, kind)["modelName"] for kind in kinds if kind in asked.entries.get(task, ())]
            if not all(name.endswith(announced[task][1]["immich_name"]) for name in names):
                return 400, {"detail": "another model"}
        return answer

    run = Run(FakeWorker(picky, width=1024))
    assert run.failed == set(), run.output
    assert "clip.visual holds exactly 1024 finite numbers" in run.passed


# --------------------------------------------------------------------- what is needed


def test_where_curl_is_not_there_python_will_do(tmp_path: Path) -> None:
    """`right` has curl alone. Search asks and answers in all ways of a client: pictures, texts, long answers."""
    (tmp_path / "python3").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    run = Run(FakeWorker(off=frozenset({"facial-recognition", "ocr"})), PATH=str(tmp_path))
    assert (run.code, run.failed) == (0, set()), run.output
    assert "clip.visual is of unit length" in run.passed


def test_one_of_them_is_needed(tmp_path: Path) -> None:
    run = Run(FakeWorker(), PATH=str(tmp_path))
    assert run.code == 2
    assert "install one of them" in run.output


class Loading:
    """/ping answers 503 a few times, as a worker does that loads its models."""

    def __init__(self) -> None:
        self.pings = 0

    def __call__(self, asked: Asked, answer: Answer) -> Answer:
        self.pings += asked.path == "/ping"
        return (503, {"detail": "loading"}) if self.pings <= 3 and asked.path == "/ping" else answer


def test_a_worker_that_loads_is_waited_for_and_found_by_its_port() -> None:
    """As after `docker run -d -e IMMICH_PORT=…`: it answers soon, and is ready later."""
    run = Run(FakeWorker(Loading(), off=EVERYTHING), by_port=True, TEST_WAIT_S="1", TEST_LOADING_S="20")
    assert run.failed == set(), run.output
    assert run.code == 0
    assert "waiting up to 1 s, or 20 s while it loads its models" in run.output


def test_the_waiting_ends() -> None:
    run = Run(FakeWorker(Loading(), off=EVERYTHING), TEST_WAIT_S="9", TEST_LOADING_S="1")
    assert run.failed == {"GET /ping answers pong", "GET /ping still answers pong"}, run.output
    assert run.code == 1


def idle(asked: Asked, answer: Answer) -> Answer:
    return (503, "idle: see /status") if asked.path == "/ping" else answer


def test_a_worker_without_models_is_not_waited_for() -> None:
    run = Run(FakeWorker(idle, off=EVERYTHING), TEST_WAIT_S="60", TEST_LOADING_S="60")
    assert run.failed == {"GET /ping answers pong", "GET /ping still answers pong"}, run.output
    assert "it has loaded, and serves no task: " in run.output
    assert "waiting" not in run.output


@pytest.mark.parametrize("picture", ["/no/such/picture.jpg", str(HERE)])
def test_a_picture_that_cannot_be_read(picture: str) -> None:
    done = subprocess.run(["bash", str(SCRIPT), picture], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"cannot read the picture '{picture}'" in done.stderr
    assert "chmod a+r" in done.stderr


def test_an_old_bash_is_told(tmp_path: Path) -> None:
    """As the check would see it: there is no such bash here."""
    text = SCRIPT.read_text().replace("BASH_VERSINFO[0] < 4", "BASH_VERSINFO[0] < 400")
    (tmp_path / "test.sh").write_text(text)
    done = subprocess.run(["bash", str(tmp_path / "test.sh"), "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, "it needs bash 4 or newer" in done.stderr) == (2, True)


def test_no_worker_is_a_failure() -> None:
    environment = {**os.environ, "TEST_WAIT_S": "0"}
    command = ["bash", str(SCRIPT), str(PICTURE), "http://127.0.0.1:9"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.endswith("0 passed, 1 failed\n")


def test_the_picture_says_what_it_holds() -> None:
    with Image.open(PICTURE) as picture:
        assert picture.info["comment"].startswith(b"faces=4 words=")
        assert (picture.width, picture.height) == (1920, 1440)
    assert PICTURE.stat().st_size < 300_000
