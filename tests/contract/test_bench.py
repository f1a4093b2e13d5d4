"""What the measuring scripts refuse before they begin; that they measure what they say."""

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_worker import CLIP, FACE, OCR, QUERY, picture
from project import PROJECT
from recorded import Recorded
from two_workers import Side, bench_models, longest_burst, ours, usual
from worker_process import free_port

from ml_target.diagnostics import speed
from ml_target.diagnostics.clients import Connection, closed_loop, form

SCRIPTS = PROJECT / "scripts"
PHOTO = (PROJECT / "tests" / "test.jpg").read_bytes()
FORMS = {
    "clip.visual": form({"clip": CLIP}, PHOTO),
    "clip.textual": form({"clip": QUERY}, "a dog on a beach"),
    "facial-recognition": form({"facial-recognition": FACE}, PHOTO),
    "ocr": form({"ocr": OCR}, PHOTO),
}


def accuracy(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[object]:
    """`scripts/bench accuracy` with these words: what it would measure, without pages."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    script = importlib.import_module("bench_accuracy")
    asked: list[object] = []
    monkeypatch.setattr(script, "pages", lambda seed: [seed])
    monkeypatch.setattr(script, "run", lambda corpus, tiles: asked.extend([corpus, tiles]))
    monkeypatch.setattr(sys, "argv", ["bench_accuracy.py", "--photos", "nowhere", *words])
    script.main()
    return asked


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--tiles"], "argument --tiles: expected at least one argument"),
        (["--tiles", "0"], "argument --tiles: '0' is not a whole number from 1 on"),
        (["--tiles", "4", "-1"], "argument --tiles: '-1' is not a whole number from 1 on"),
        (["--tiles", "many"], "argument --tiles: 'many' is not a whole number from 1 on"),
        (["--seeds", "0"], "argument --seeds: '0' is not a whole number from 1 on"),
    ],
)
def test_accuracy_refuses_what_is_no_number_of_tiles_or_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    with pytest.raises(SystemExit) as end:
        accuracy(monkeypatch, *words)
    assert end.value.code == 2
    assert error in capsys.readouterr().err


def test_accuracy_takes_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accuracy(monkeypatch, "--seeds", "2", "--tiles", "1", "16") == [[0, 100], [1, 16]]
    assert accuracy(monkeypatch) == [[0], [1, 2, 16]]


# ------------------------------------------------------------- two workers


@pytest.fixture(scope="module")
def two(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """The worker of the usual design and ours, as the bench starts them; their cards work ten times as fast."""
    folder = tmp_path_factory.mktemp("two")
    models = bench_models(wheel_models, folder)
    quick = {"HAILO_SIM_CLOCK": "10"}
    with (
        usual(folder, models, "slow", "tinyclip", **quick) as theirs,
        ours(folder, models, "slow", "tinyclip", **quick) as mine,
    ):
        yield theirs, mine


def answers(side: Side) -> dict[str, Any]:
    """Of every task, for the project's photo."""

    async def ask() -> dict[str, Any]:
        connection = Connection(side.url)
        try:
            return {task: json.loads(await connection.predict(body)) for task, body in FORMS.items()}
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.mark.slow
def test_the_second_worker_sends_one_frame_a_burst_and_never_two_at_a_time(two: tuple[Side, Side]) -> None:
    """What the usual design is: where this fails, the bench compares with something else."""
    theirs, mine = two
    asked = {
        "tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder": 1,
        "tinyclip_vit_39m_16_text_19m_yfcc15m_text_encoder": 1,
        "scrfd_2_5g": 1,
        "arcface_r50": 3,
        "paddle_ocr_v5_mobile_detection": 2,
        "paddle_ocr_v5_mobile_recognition": 3,
    }
    turns = [tuple(FORMS.values())]
    before = theirs.bursts()
    seen = asyncio.run(closed_loop(theirs.url, turns, 4, 0.1, 0.0))
    assert not seen.failed
    assert seen.turns >= 4
    after = theirs.bursts()
    sent = {name: sizes.get(1, 0) - before[name].get(1, 0) for name, sizes in after.items()}
    assert all(set(sizes) <= {1} for sizes in after.values()), "bursts of more than one frame"
    assert sent == {name: count * seen.turns for name, count in asked.items()}, (
        "frames that no request needs, or too few"
    )
    assert theirs.rig.counts()["most_in_flight"] == 1, "two frames at a time"
    asyncio.run(closed_loop(mine.url, turns, 4, 0.1, 0.0))
    assert any(size > 1 for sizes in mine.bursts().values() for size in sizes), "ours does send bursts"


@pytest.mark.slow
def test_the_second_worker_answers_as_ours_does(two: tuple[Side, Side]) -> None:
    """The same networks and the same work: other filters alone may make a difference."""
    theirs, mine = (answers(side) for side in two)
    assert form_of(theirs) == form_of(mine)
    queries = [json.loads(answer["clip.textual"]["clip"]) for answer in (theirs, mine)]
    assert np.allclose(queries[0], queries[1], atol=1e-6)
    for name in ("boundingBox", "score"):
        assert [face[name] for face in found(theirs, "facial-recognition")] == [
            pytest.approx(face[name]) for face in found(mine, "facial-recognition")
        ]
    assert all(found(theirs, "ocr")["text"]), "every line has letters"
    assert found(theirs, "ocr")["box"] == pytest.approx(found(mine, "ocr")["box"], abs=1e-6)


def found(answer: dict[str, Any], task: str) -> Any:
    return answer[task][task]


def form_of(answer: Any) -> Any:
    """Keys, types and lengths; of a vector in text its length, of other texts nothing."""
    if isinstance(answer, dict):
        return {key: form_of(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [form_of(value) for value in answer]
    return answer.count(",") if isinstance(answer, str) else type(answer)


@pytest.mark.slow
def test_processor_time_and_the_longest_burst_are_counted(two: tuple[Side, Side]) -> None:
    before = [side.processor() for side in two]
    answers(two[0])
    assert two[0].processor() >= before[0] > 0
    assert before[1] > 0
    bursts = {"arcface_r50": {1: 4, 8: 1}, "scrfd_2_5g": {8: 3}, "siglip_b_16_image_encoder": {8: 0}}
    assert longest_burst(bursts, "slow") == pytest.approx(0.002 + 0.0263 + 8 * 0.00166)


# -------------------------------------------------------------------- host


def test_recorded_networks_compute_once() -> None:
    computed: list[int] = []

    def compute(frame: Any) -> dict[str, Any]:
        computed.append(frame)
        return {"answer": frame}

    network = Recorded((2, 2, 3), compute)
    for _ in range(2):
        network.begin("photo")
        assert network.run([1, 2]) + network.run([3]) == [{"answer": n} for n in (1, 2, 3)]
    network.begin("another photo")
    assert network.run([4]) == [{"answer": 4}]
    assert computed == [1, 2, 3, 4]


@pytest.mark.slow
def test_the_host_is_measured_beside_the_plain_way_and_another_checkout(
    wheel_models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("insightface")
    pytest.importorskip("rapidocr")
    (tmp_path / "photo.jpg").write_bytes(picture(1))
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    script = importlib.import_module("bench_host")
    words = ["--photos", str(tmp_path), "--rounds", "1", "--against", str(PROJECT), "--models", str(wheel_models)]
    monkeypatch.setattr(sys, "argv", ["bench_host.py", *words])
    script.main()
    rows = [line.strip("| ").split(" | ") for line in capfd.readouterr().out.splitlines() if line.startswith("| ")]
    steps = {name: cells for name, *cells in rows[1:]}
    assert set(steps) <= set(script.ORDER)
    assert {"decode", "search tinyclip", "faces", "text"} <= set(steps)
    assert all(float(cell) >= 0 for name in ("decode", "faces", "text") for cell in steps[name])


def test_what_is_no_checkout_is_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    script = importlib.import_module("bench_host")
    monkeypatch.setattr(sys, "argv", ["bench_host.py", "--against", str(tmp_path)])
    with pytest.raises(SystemExit):
        script.main()
    with pytest.raises(SystemExit, match="holds no photos"):
        script.photos_in(tmp_path)


# ------------------------------------------------------------------- --url


@pytest.mark.slow
def test_the_speed_of_a_running_worker_is_a_table_and_a_file(
    two: tuple[Side, Side], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "speed.json"
    words = ["--url", two[1].url, "--seconds", "0.1", "--clients", "1", "2", "--json", str(file)]
    assert speed.main(words) == 0
    told = capsys.readouterr().out
    rows = [line.split(" | ") for line in told.splitlines() if line.startswith("| ")][1:]
    tasks = ["clip.visual", "clip.textual", "facial-recognition", "ocr", "all of a photo"]
    assert [row[0].removeprefix("| ") for row in rows] == [task for task in tasks for _ in (1, 2)]
    assert all(float(row[2]) > 0 for row in rows)
    assert "engine hailo" in told
    assert "temperature_c" in told
    content = json.loads(file.read_text())
    assert [row["clients"] for row in content["rows"]] == [1, 2] * len(tasks)
    assert content["before"]["engine"] == "hailo"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "the following arguments are required: --url"),
        (["--url", "https://worker"], "argument --url: 'https://worker' is not like http://127.0.0.1:3003"),
        (["--url", "http://worker:3003/predict"], "is not like http://127.0.0.1:3003"),
        (["--url", "http://w:1", "--clients", "0"], "argument --clients: '0' is not a whole number from 1 on"),
        (["--url", "http://w:1", "--seconds", "nan"], "argument --seconds: 'nan' is not a number from 0.1 to 600"),
        (["--url", "http://w:1", "--photos", "nowhere"], "argument --photos: [Errno 2] No such file or directory"),
        (["--url", "http://w:1", "--photos", str(SCRIPTS)], "holds no .jpg"),
    ],
)
def test_speed_refuses_what_it_cannot_measure(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        speed.main(words)
    assert end.value.code == 2
    assert error in capsys.readouterr().err


@pytest.mark.slow
def test_speed_tells_that_nothing_answers_or_another_program(
    two: tuple[Side, Side], capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main(["--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "Name a running worker, as in http://127.0.0.1:3003" in capsys.readouterr().err
    assert speed.main(["--url", two[0].url]) == 1
    assert "status 404" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failing_or_slow_task_is_a_row_of_its_own(two: tuple[Side, Side]) -> None:
    status = {"tasks": {"ocr": {"on": True}, "clip.visual": {"on": True}, "clip.textual": {"on": False}}}
    damaged = list(speed.measure(two[1].url, status, [b"no picture"], (1, 8), 0.1, together=False))
    assert [(row.task, row.clients) for row in damaged] == [("ocr", 1), ("clip.visual", 1)], "no more of what fails"
    assert all("status 4" in row.failed for row in damaged)
    slow = list(speed.measure(two[1].url, status, [PHOTO], (1, 8), 0.1, together=False, slowest_s=0.0))
    assert [row.left_out for row in slow] == [False, True] * 2
    assert slow[1].cells()[2] == "left out: one client alone is slow enough"
    late = list(speed.measure(two[1].url, status, [PHOTO], (1,), 0.1, most_s=-1.0))
    assert all(row.left_out for row in late)
