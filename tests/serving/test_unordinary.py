"""Pictures out of the ordinary, over HTTP: their own process, deadlines that are kept, photos that do not wait."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import hostile_pictures as hostile
import httpx
import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, ask

from ml_target.config import Settings
from ml_target.imaging.formats import probe_at_once
from ml_target.imaging.structure import Structure
from ml_target.runtime.lifecycle import Worker

SLOW = hostile.slow_jpeg(9000, 9000, 100)
"""Some seconds of the helper."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[httpx.Client, Worker]]:
    with live(lambda _: fake_services(FakeTasks())) as (client, worker):
        yield client, worker


def gone(worker: Worker, seconds: float = 10) -> bool:
    """Whether the helper has ended, or ends, and its memory is free."""

    def is_gone() -> bool:
        pictures = worker.memory.pictures
        return worker.helper.process is None and pictures.free == pictures.total

    end = time.monotonic() + seconds
    while not is_gone() and time.monotonic() < end:
        time.sleep(0.02)
    return is_gone()


@pytest.mark.parametrize(("form", "outside"), [("JPEG", False), ("WebP", False), ("PNG", False), ("JPEG 2000", True)])
def test_where_a_picture_is_decoded_is_in_its_log_line(
    served: tuple[httpx.Client, Worker], caplog: pytest.LogCaptureFixture, form: str, outside: bool
) -> None:
    data = hostile.FORMS[form](hostile.photo(320, 200))
    with caplog.at_level(logging.INFO, "ml_target.request"):
        answer = ask(served[0], {**CLIP, **FACES, **OCR}, data)
    assert answer.status_code == 200
    assert (answer.json()["imageWidth"], answer.json()["imageHeight"]) == (320, 200)
    [line] = [r.getMessage() for r in caplog.records if r.name == "ml_target.request"]
    assert ("helper_cpu_ms=" in line) is outside


def test_a_picture_that_the_memory_could_never_hold_is_refused_with_the_setting() -> None:
    settings = Settings(engine="cpu", memory_mb=256, max_upload_mb=64)
    with live(lambda _: fake_services(FakeTasks()), settings) as (client, worker):
        answer = ask(client, CLIP, hostile.png_header(6000, 5000) + hostile.png_chunk(b"IDAT", b""))
        assert answer.status_code == 413
        assert "PNG, 6000 x 5000" in answer.json()["detail"]
        most = worker.memory.pictures.largest // 2**20
        assert f"MiB to decode, but one picture may use at most {most} MiB. Send a smaller" in answer.json()["detail"]
        wanted = int(answer.json()["detail"].partition("MEMORY_MB to ")[2].split()[0])
        assert worker.memory.of(wanted, 64).pictures.largest >= 30_000_000 * 7 > worker.memory.pictures.largest
        assert worker.helper.process is None


def test_a_deadline_ends_the_decoding_and_photos_do_not_wait() -> None:
    with live(lambda _: fake_services(FakeTasks()), Settings(engine="cpu", request_timeout_s=2)) as (client, worker):
        ask(client, CLIP)
        with ThreadPoolExecutor(8) as pool:
            started = time.monotonic()
            slow = [pool.submit(ask, client, CLIP, SLOW) for _ in range(8)]
            photos: list[int] = []
            while not all(one.done() for one in slow):
                photos.append(ask(client, CLIP, picture(len(photos))).status_code)
            assert time.monotonic() - started < 12
        assert {one.result().status_code for one in slow} <= {200, 503}
        assert 503 in {one.result().status_code for one in slow}
        assert set(photos) == {200}
        assert gone(worker)
        assert ask(client, CLIP, hostile.FORMS["GIF"](hostile.photo(30, 20))).status_code == 200


def test_a_client_that_hangs_up_ends_the_decoding(served: tuple[httpx.Client, Worker]) -> None:
    client, worker = served
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/predict", data={"entries": '{"clip":{"visual":{"modelName":"x"}}}'}, files={"image": SLOW}, timeout=0.7
        )
    assert gone(worker)


def test_the_helper_ends_with_the_worker() -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, worker):
        ask(client, CLIP, hostile.FORMS["GIF"](hostile.photo(30, 20)))
        number = worker.helper.process
        assert number is not None
    assert worker.helper.process is None
    assert not Path(f"/proc/{number}").exists()


def test_memory_that_cannot_be_had_is_a_503(
    served: tuple[httpx.Client, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_memory)
    answer = ask(served[0], CLIP, picture(form="PNG"))
    assert answer.status_code == 503
    assert "no memory left" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (hostile.slow_jpeg(800, 800, 400), 400, "more than 100 scans"),
        (hostile.one_pixel_in_a_tile(8192), 413, "lie in a tile of 67,108,864"),
        (hostile.cut_png(900, 900), 400, "Regenerate its preview"),
        (hostile.FORMS["TIFF"](hostile.photo(300, 200))[:-500], 400, "Regenerate its preview"),
    ],
    ids=["scans", "tile", "cut", "cut outside"],
)
def test_files_that_hurt_are_answered_in_words(
    served: tuple[httpx.Client, Worker], data: bytes, status: int, words: str
) -> None:
    answer = ask(served[0], CLIP, data)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert " at 0x" not in answer.text


def test_uploads_are_closed_when_they_are_decoded(
    served: tuple[httpx.Client, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty megabytes of a file must not stay with whoever still knows the form."""
    uploads: list[BinaryIO] = []

    def noted(upload: BinaryIO, max_pixels: int) -> Structure | None:
        uploads.append(upload)
        return probe_at_once(upload, max_pixels)

    monkeypatch.setattr("ml_target.runtime.decoding.probe_at_once", noted)
    for data in (picture(), b"no picture", hostile.FORMS["TIFF"](hostile.photo(30, 20))):
        ask(served[0], CLIP, data)
    assert [upload.closed for upload in uploads] == [True] * 3
