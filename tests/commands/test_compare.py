"""`compare` over HTTP: each verdict in words, as JSON and as a page, and everything that can go wrong."""

import hashlib
import html
import io
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_worker import Answer, Asked, FakeWorker, serving, text_of
from PIL import Image
from spaces import moved, space, unit

from ml_target.__main__ import main
from ml_target.diagnostics.compare.photos import bundled

Capture = pytest.CaptureFixture[str]
PHOTOS = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in a folder and one below it, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    for n in range(PHOTOS):
        place = folder / "below" if n % 2 else folder
        Image.new("RGB", (40 + n, 30), (n, 2 * n, 255 - n)).save(place / f"{n:03}.png")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def seeded(turn: float) -> Callable[[Asked, Answer], Answer]:
    """Vectors that depend on the bytes asked about, turned by a cosine."""

    def twist(asked: Asked, answer: Answer) -> Answer:
        if asked.path == "/predict" and answer[0] == 200 and "clip" in asked.entries:
            seed = hashlib.sha256(asked.image or (asked.text or "").encode()).digest()[:4]
            vector = space(int.from_bytes(seed, "big"), 1)
            answer[1]["clip"] = text_of(moved(vector, turn)[0].tolist())
        return answer

    return twist


@pytest.fixture
def workers() -> Iterator[Callable[..., list[str]]]:
    """Starts fake workers; returns their URLs."""
    with ExitStack() as running:
        yield lambda *each: [running.enter_context(serving(worker)) for worker in each]


def compared(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    code = main(["compare", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def twisted(turn: float, vector_turn: float, letters: int) -> Callable[[Asked, Answer], Answer]:
    """Search vectors turned by one cosine, those of faces by another, and so many letters of each line others."""
    turned = seeded(turn)

    def twist(asked: Asked, answer: Answer) -> Answer:
        if asked.path != "/predict" or answer[0] != 200:
            return answer
        for face in answer[1].get("facial-recognition", ()):
            vector = unit(np.array([json.loads(face["embedding"])]))
            face["embedding"] = text_of(moved(vector, vector_turn)[0].tolist())
        if "ocr" in answer[1]:
            answer[1]["ocr"]["text"] = ["x" * letters + line[letters:] for line in answer[1]["ocr"]["text"]]
        return turned(asked, answer)

    return twist


@pytest.mark.parametrize(
    ("twist", "verdict", "words"),
    [
        pytest.param(twisted(0.9995, 0.99, 0), "same space", "Change at will", marks=pytest.mark.slow, id="same"),
        pytest.param(twisted(0.97, 0.85, 1), "ranks alike", "Searches stay", marks=pytest.mark.slow, id="alike"),
        pytest.param(twisted(0.1, 0.1, 4), "another space", "Smart Search > All", marks=pytest.mark.slow, id="another"),
    ],
)
def test_each_verdict_over_http(
    twist: Callable[[Asked, Answer], Answer],
    verdict: str,
    words: str,
    workers: Callable[..., list[str]],
    folder: Path,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    """In words, as JSON and as a page; each task is judged by itself."""
    here, there = workers(FakeWorker(twist), FakeWorker(seeded(1.0)))
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    written = ("--html", str(page), "--json", str(figures))
    code, out, _ = compared(capsys, there, str(folder), "--ours", here, "--at-once", "4", *written)
    assert code == 0, out
    tasks = json.loads(figures.read_text())["tasks"]
    assert {task: each["verdict"] for task, each in tasks.items()} == dict.fromkeys(
        ("search", "faces", "text"), verdict
    ), out
    assert out.count(f"=> {verdict}") == 3
    assert words in out
    shown = page.read_text()
    assert shown.count(f"<b>{verdict.capitalize()}</b>") == 3
    assert "data:image/jpeg;base64," in shown
    assert "default-src 'none'; img-src data:" in shown
    assert "<script" not in shown


def test_it_asks_as_immich_does_and_shows_how_far_it_is(
    workers: Callable[..., list[str]], folder: Path, capsys: Capture
) -> None:
    ours, theirs = FakeWorker(), FakeWorker()
    here, there = workers(ours, theirs)
    told = ("--most", "10", "--task", "search", "--task", "faces")
    code, _, err = compared(capsys, there, str(folder), "--ours", here, *told)
    assert code == 0
    assert [len(worker.asked) for worker in (ours, theirs)] == [2 + 2 * 10 + 40] * 2
    sent = [asked.entries for asked in ours.asked if asked.path == "/predict"]
    assert all(len(entries) == 1 for entries in sent), "one task a request"
    assert {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}} in sent
    assert f"/{2 * (2 * 10 + 40)} [" in err


def announcing(**models: Any) -> Callable[[Asked, Answer], Answer]:
    """A worker whose /status tells these models; it answers for any name."""

    def twist(asked: Asked, answer: Answer) -> Answer:
        return (200, {**answer[1], **models}) if asked.path == "/status" else answer

    return twist


def model(name: Any, on: bool = True) -> dict[str, Any]:
    return {"immich_name": name, "on": on}


@pytest.mark.parametrize(
    ("status", "told", "names", "words"),
    [
        (
            {"clip": [model("ViT-B-32-SigLIP2-256__webli")], "ocr": [model("PP-OCRv6_small")]},
            (),
            ("ViT-B-32-SigLIP2-256__webli", "PP-OCRv6_small"),
            "asked for text: PP-OCRv6_small, as this worker announces (--ocr asks for another)",
        ),
        (
            {"ocr": [model("PP-OCRv5_mobile", on=False), model("PP-OCRv6_small"), model("PP-OCRv7")]},
            (),
            ("ViT-B-32__openai", "PP-OCRv6_small"),
            "asked for text: PP-OCRv6_small, as this worker announces; it also serves PP-OCRv7 (--ocr NAME)",
        ),
        (
            {"ocr": [model("PP-OCRv6_small")]},
            ("--ocr", "EN__PP-OCRv5_mobile"),
            ("ViT-B-32__openai", "EN__PP-OCRv5_mobile"),
            "asked for text: EN__PP-OCRv5_mobile, as told",
        ),
        (
            {},
            (),
            ("ViT-B-32__openai", "PP-OCRv5_mobile"),
            "PP-OCRv5_mobile, Immich's default: this worker's /status names none (--ocr NAME)",
        ),
        (
            {"clip": [7, model("gone\x1b[2J"), model(None)], "ocr": "none"},
            (),
            ("ViT-B-32__openai", "PP-OCRv5_mobile"),
            "asked for search: ViT-B-32__openai, Immich's default",
        ),
    ],
    ids=["what is announced", "the first that is on", "what is told", "nothing is announced", "nonsense is announced"],
)
def test_both_are_asked_for_what_this_worker_announces(
    status: dict[str, Any],
    told: tuple[str, ...],
    names: tuple[str, str],
    words: str,
    workers: Callable[..., list[str]],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    """Whatever the other one announces."""
    ours, theirs = (FakeWorker(announcing(**each)) for each in (status, {"ocr": [model("X")]}))
    here, there = workers(ours, theirs)
    photos, shown = tmp_path / "photos", tmp_path / "page.html"
    photos.mkdir()
    Image.new("RGB", (40, 30)).save(photos / "one.png")
    _, out, _ = compared(capsys, there, str(photos), "--ours", here, "--html", str(shown), *told)
    for worker in (ours, theirs):
        sent = [asked for asked in worker.asked if asked.path == "/predict"]
        assert {asked.model("clip", kind)["modelName"] for asked in sent for kind in asked.entries.get("clip", ())} == {
            names[0]
        }
        assert {asked.model("ocr", kind)["modelName"] for asked in sent for kind in asked.entries.get("ocr", ())} == {
            names[1]
        }
    assert words in out
    assert html.escape(words) in shown.read_text()
    assert "asked for faces: buffalo_l" in out
    assert "\x1b" not in out


def test_the_other_one_may_go_by_other_names(
    workers: Callable[..., list[str]], tmp_path: Path, capsys: Capture
) -> None:
    """Immich's own worker with the text model of its default, and this one with another."""
    ours, theirs = FakeWorker(announcing(ocr=[model("PP-OCRv6_small")])), FakeWorker()
    here, there = workers(ours, theirs)
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    told = ("--clip", "ViT-B-32__openai", "--their-clip", "x/ViT-B-32__openai", "--their-ocr", "PP-OCRv5_mobile")
    _, out, _ = compared(capsys, there, str(tmp_path), "--ours", here, *told)
    for worker, names in ((ours, ("", "PP-OCRv6_small")), (theirs, ("x/", "PP-OCRv5_mobile"))):
        sent = [asked for asked in worker.asked if asked.path == "/predict"]
        assert {asked.model("ocr", kind)["modelName"] for asked in sent for kind in asked.entries.get("ocr", ())} == {
            names[1]
        }
        assert {asked.model("clip", kind)["modelName"] for asked in sent for kind in asked.entries.get("clip", ())} == {
            f"{names[0]}ViT-B-32__openai"
        }
    assert "asked for text: PP-OCRv6_small, as this worker announces (--ocr asks for another); the other one" in out
    assert "; the other one for PP-OCRv5_mobile\n" in out
    assert "asked for search: ViT-B-32__openai, as told; the other one for x/ViT-B-32__openai" in out


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_requests_at_a_time_than_told(
    most: int, workers: Callable[..., list[str]], folder: Path, capsys: Capture
) -> None:
    """Both workers together: on one host they share the machine. The first ones wait until so many are there."""
    running, peak, lock, full = 0, 0, threading.Lock(), threading.Event()

    def hold(asked: Asked, answer: Answer) -> Answer:
        nonlocal running, peak
        if asked.path != "/predict":
            return answer
        with lock:
            running += 1
            peak = max(peak, running)
            if running == most:
                full.set()
        full.wait(20)
        time.sleep(0.002)  # for one too many to come
        with lock:
            running -= 1
        return answer

    here, there = workers(FakeWorker(hold), FakeWorker(hold))
    told = ("--at-once", str(most), "--most", "20", "--task", "faces")
    assert compared(capsys, there, str(folder), "--ours", here, *told)[0] == 0
    assert full.is_set()
    assert peak == most


def test_a_task_that_is_off_is_told_and_the_others_are_compared(
    workers: Callable[..., list[str]], folder: Path, capsys: Capture
) -> None:
    here, there = workers(FakeWorker(), FakeWorker(off=frozenset(["ocr"])))
    tasks = ("--task", "faces", "--task", "text")
    code, out, _ = compared(capsys, there, str(folder), "--ours", here, "--most", "5", *tasks)
    assert code == 1
    assert "not answered by the other one, text: 5 times 503: ocr is off" in out
    assert "\nfaces: 5 photos" in out
    assert "\ntext: " not in out
    assert "5 of 100 photos" in out


def test_bundled_pictures_tell_only_cosines(workers: Callable[..., list[str]], capsys: Capture) -> None:
    """Whatever there is on them: they are not the owner's."""
    here, there = workers(FakeWorker(seeded(1.0)), FakeWorker(seeded(1.0)))
    code, out, _ = compared(capsys, there, "--ours", here)
    assert code == 0
    assert "bundled" in out
    assert "cosine, mean" in out
    assert out.count("=> no verdict") == 3
    assert len(bundled()) == 12


def test_hostile_names_do_not_become_markup(workers: Callable[..., list[str]], tmp_path: Path, capsys: Capture) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 30)).save(photos / "<script>alert(1)<.png")

    def evil(asked: Asked, answer: Answer) -> Answer:
        if asked.path == "/predict":
            return 503, {"detail": "<img src=x onerror=alert(1)>"}
        return answer

    here, there = workers(FakeWorker(seeded(0.9)), FakeWorker(seeded(1.0)))
    assert (
        compared(capsys, there, str(photos), "--ours", here, "--task", "search", "--html", str(tmp_path / "a.html"))[0]
        == 0
    )
    (there,) = workers(FakeWorker(evil))
    assert compared(capsys, there, str(photos), "--ours", here, "--html", str(tmp_path / "b.html"))[0] == 1
    for name in ("a", "b"):
        assert "<script>" not in (shown := (tmp_path / f"{name}.html").read_text())
        assert "<img src=x" not in shown


def test_what_the_other_one_says_cannot_steer_the_terminal(
    workers: Callable[..., list[str]], folder: Path, capsys: Capture
) -> None:
    def evil(asked: Asked, answer: Answer) -> Answer:
        return (503, {"detail": "gone\x1b[2J\nsearch: same space"}) if asked.path == "/predict" else answer

    here, there = workers(FakeWorker(), FakeWorker(evil))
    code, out, _ = compared(capsys, there, str(folder), "--ours", here, "--most", "2", "--task", "faces")
    assert code == 1
    assert "2 times 503: gone [2J search: same space" in out
    assert "\x1b" not in out


def test_a_name_whose_bytes_are_no_text(workers: Callable[..., list[str]], tmp_path: Path, capsys: Capture) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    picture = io.BytesIO()
    Image.new("RGB", (40, 30)).save(picture, "png")
    (photos / os.fsdecode(b"caf\xe9.png")).write_bytes(picture.getvalue())
    here, there = workers(FakeWorker(seeded(0.9)), FakeWorker(seeded(1.0)))
    page = tmp_path / "page.html"
    told = ("--ours", here, "--task", "search", "--html", str(page))
    assert compared(capsys, there, str(photos), *told)[0] == 0
    assert "caf?.png" in page.read_text("utf-8")


def test_faces_that_are_found_alike_but_described_otherwise_are_shown(
    workers: Callable[..., list[str]], folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    here, there = workers(FakeWorker(twisted(1.0, 0.5, 0)), FakeWorker())
    page = tmp_path / "page.html"
    told = ("--ours", here, "--most", "3", "--task", "faces", "--html", str(page))
    assert compared(capsys, there, str(folder), *told)[0] == 0
    assert page.read_text().count("<figure>") == 3


@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_a_worker_that_is_not_there(which: str, workers: Callable[..., list[str]], capsys: Capture) -> None:
    (there,) = workers(FakeWorker())
    gone = "http://user:secret@127.0.0.1:1"
    arguments = (there, "--ours", gone) if which == "ours" else (gone, "--ours", there)
    code, _, err = compared(capsys, *arguments)
    assert code == 1
    assert ("This worker" if which == "ours" else "The other one") in err
    assert "/ping says pong" in err
    assert "secret" not in err


def test_itself_is_no_other_worker(workers: Callable[..., list[str]], folder: Path, capsys: Capture) -> None:
    (here,) = workers(FakeWorker())
    code, _, err = compared(capsys, f"{here}/", "--ours", here)
    assert (code, "compared with itself. Name the other worker's URL" in err) == (1, True)


@pytest.mark.parametrize(
    ("ours", "theirs", "one"),
    [
        ({"uptime_s": 500}, {"uptime_s": 501}, True),
        ({"uptime_s": 500}, {"uptime_s": 900}, False),
        ({"uptime_s": 500}, {}, False),
        ({"uptime_s": 500}, {"uptime_s": 500, "tasks": {}}, False),
    ],
    ids=["two addresses of one", "another start", "Immich's own", "other files"],
)
def test_one_worker_under_two_addresses_is_told(
    ours: dict[str, Any],
    theirs: dict[str, Any],
    one: bool,
    workers: Callable[..., list[str]],
    folder: Path,
    capsys: Capture,
) -> None:
    here, there = workers(FakeWorker(announcing(**ours)), FakeWorker(announcing(**theirs)))
    _, out, _ = compared(capsys, there, str(folder), "--ours", here, "--most", "1", "--task", "faces")
    assert ("are they one and the same?" in out) == one


def test_nothing_is_said_to_stay_where_one_worker_often_fails(
    workers: Callable[..., list[str]], folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A tenth of the photos, of which nobody knows how they would be answered."""
    turns = itertools.cycle([True, *[False] * 9])

    def fails(asked: Asked, answer: Answer) -> Answer:
        return (500, {"detail": "out of luck"}) if asked.image and next(turns) else answer

    here, there = workers(FakeWorker(fails), FakeWorker())
    figures = tmp_path / "figures.json"
    told = ("--ours", here, "--most", "20", "--task", "faces", "--json", str(figures))
    code, out, _ = compared(capsys, there, str(folder), *told)
    faces = json.loads(figures.read_text())["tasks"]["faces"]
    assert (code, faces["verdict"]) == (0, "no verdict"), out
    assert "of 20 photos that one worker answers, both answer only 18" in faces["why"]
    assert "2 times 500: out of luck" in out


def test_an_answer_without_end_is_no_answer(
    workers: Callable[..., list[str]], folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_target.diagnostics.compare.asking.LONGEST", 1 << 20)

    def long(asked: Asked, answer: Answer) -> Answer:
        return (200, "x" * (1 << 21)) if asked.path == "/predict" else answer

    here, there = workers(FakeWorker(), FakeWorker(long))
    told = ("--ours", here, "--most", "2", "--task", "faces")
    code, out, _ = compared(capsys, there, str(folder), *told)
    assert code == 1
    assert "the other one, faces: 2 times The answer is longer than 1 MiB" in out


def test_an_answer_that_drips_is_given_up_in_time(
    workers: Callable[..., list[str]], folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes soon enough, the whole never does: of /status, and of /ping."""
    monkeypatch.setattr("ml_target.diagnostics.compare.names.ANSWERS_WITHIN_S", 0.5)
    with ExitStack() as running:
        listener = running.enter_context(socket.create_server(("127.0.0.1", 0)))

        def drip() -> None:
            for _ in range(2):
                with suppress(OSError), listener.accept()[0] as asking:  # until the other side has had enough
                    asking.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    while True:
                        asking.sendall(b"p")
                        time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        (here,) = workers(FakeWorker())
        there = f"http://127.0.0.1:{listener.getsockname()[1]}"
        code, _, err = compared(capsys, there, str(folder), "--ours", here, "--timeout", "1")
    assert code == 1
    assert "does not answer: nothing, or not all of it, within 1 s (--timeout)" in err


def test_ctrl_c_ends_it_at_once(
    workers: Callable[..., list[str]], folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Though both workers are still thinking, and no matter how long they may."""
    over = threading.Event()

    def thinks(asked: Asked, answer: Answer) -> Answer:
        if asked.path == "/predict":
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(60)
        return answer

    here, there = workers(FakeWorker(), FakeWorker(thinks))
    began = time.monotonic()
    try:
        page = tmp_path / "page.html"
        code, out, err = compared(capsys, there, str(folder), "--ours", here, "--at-once", "1", "--html", str(page))
    finally:
        over.set()
    assert not page.exists()
    assert (code, out) == (130, "")
    assert err.endswith("stopped\n")
    assert "Traceback" not in err
    assert time.monotonic() - began < 30


def test_boxes_beyond_the_picture_are_drawn_at_its_edge(
    workers: Callable[..., list[str]], folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    def wild(asked: Asked, answer: Answer) -> Answer:
        for face in answer[1].get("facial-recognition", ()) if asked.path == "/predict" else ():
            face["boundingBox"] = {"x1": -1e300, "y1": 1e300, "x2": 5, "y2": -7}
        return answer

    here, there = workers(FakeWorker(), FakeWorker(wild))
    page = tmp_path / "page.html"
    told = ("--ours", here, "--most", "2", "--task", "faces", "--html", str(page))
    assert compared(capsys, there, str(folder), *told)[0] == 0
    assert page.read_text().count("<figure>") == 2


def test_a_page_that_cannot_be_written_in_the_end_leaves_the_words(
    workers: Callable[..., list[str]], folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    here, there = workers(FakeWorker(), FakeWorker())
    told = ("--ours", here, "--most", "2", "--task", "faces", "--html", str(tmp_path / "page.html"))
    code, out, err = compared(capsys, there, str(folder), *told)
    assert code == 1
    assert "\nfaces: 2 photos" in out
    assert "cannot be written (No space left on device). What it was to show stands above" in err


def test_what_is_no_worker_is_told(workers: Callable[..., list[str]], capsys: Capture) -> None:
    def page(asked: Asked, answer: Answer) -> Answer:
        return 404, "Not found"

    here, there = workers(FakeWorker(), FakeWorker(page))
    code, _, err = compared(capsys, there, "--ours", here)
    assert code == 1
    assert "says 404" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ftp://x",), "http://192.168.1.20:3003"),
        (("http://x:99999",), "http://192.168.1.20:3003"),
        (("http://[x",), "http://192.168.1.20:3003"),
        (("http://x:1", "--most", "0"), "whole number"),
        (("http://x:1", "--distance", "3"), "cosine distance"),
        ((), "URL"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple[str, ...], words: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_files_that_cannot_be(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "none").mkdir()
    for arguments, words in (
        ((str(tmp_path / "gone"),), "is not a folder"),
        ((str(tmp_path / "none"),), "has no files"),
        (("--queries", str(tmp_path / "gone.txt")), "cannot be read"),
        (("--queries", str(tmp_path / "empty.txt")), "no queries"),
        (("--html", str(tmp_path / "gone" / "page.html")), "cannot be written"),
    ):
        code, _, err = compared(capsys, "http://127.0.0.1:1", *arguments)
        assert code == 1
        assert words in err


def test_a_pipe_and_a_dead_link_are_no_photos(
    workers: Callable[..., list[str]], tmp_path: Path, capsys: Capture
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    here, there = workers(FakeWorker(), FakeWorker())
    code, out, _ = compared(capsys, there, str(tmp_path), "--ours", here, "--task", "faces")
    assert code == 1
    assert "1 times the file cannot be read (it is no ordinary file)" in out
    assert "1 times the file cannot be read (No such file or directory)" in out
