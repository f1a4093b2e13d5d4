"""MODELS_FETCH=on: what is missing is fetched before the start goes on, and whatever stands in the way is told."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from store_files import TEXT, file, hef_file

from ml_target import remedies
from ml_target.catalogue.needs import Need
from ml_target.catalogue.types import Chip, HubFile
from ml_target.config import Settings
from ml_target.runtime import first_fetch
from ml_target.runtime.assembly import Place
from ml_target.runtime.lifecycle import Worker
from ml_target.store import Store

WORDS = file()
SETTINGS = Settings(engine="cpu", models_fetch="on")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (mirror := tmp_path / "mirror").mkdir()
    (mirror / WORDS.name).write_bytes(TEXT)
    (models := tmp_path / "models").mkdir()
    return Store(models, mirror=str(mirror), hf_endpoint="http://127.0.0.1:1", progress=first_fetch.progress())


def wants(monkeypatch: pytest.MonkeyPatch, *needs: Need) -> list[Chip]:
    """The settings want these files; the chips for which they were asked."""
    chips: list[Chip] = []

    def asked(_settings: Settings, _store: Store, chip: Chip) -> list[Need]:
        chips.append(chip)
        return list(needs)

    monkeypatch.setattr(first_fetch, "_needs", asked)
    return chips


def test_fetches_what_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wants(monkeypatch, Need("ocr", "cpu", (WORDS,)))
    with caplog.at_level(logging.INFO):
        first_fetch.fetch_missing(SETTINGS, store)
        assert store.find(WORDS)
        assert "1 of 1: words.txt (ocr)" in caplog.text
        caplog.clear()
        first_fetch.fetch_missing(SETTINGS, store)
    assert caplog.text == ""


def test_tells_what_cannot_be_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wants(monkeypatch, Need("ocr", "cpu", (file(name="nobody.txt"),)), Need("faces", "cpu", (WORDS,)))
    first_fetch.fetch_missing(SETTINGS, store)
    assert "nobody.txt could not be fetched" in caplog.text
    assert "MODELS_FETCH=on: 1 of 2 could not be fetched. The next start tries again" in caplog.text
    assert store.find(WORDS)


STAND_IN = file(name="stand-in.txt")
"""Like the one of the catalogue it has no source but a mirror."""


@pytest.mark.parametrize(("in_mirror", "told"), [(True, 0), (False, 1)])
def test_a_stand_in_is_taken_from_a_mirror_where_the_network_itself_cannot_be_had(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    in_mirror: bool,
    told: int,
) -> None:
    """As `models fetch` does; without it, the reason is that of the network, for which somebody can search."""
    network = file(HubFile("nobody/here", "network.txt"), name="network.txt")
    if in_mirror:
        (tmp_path / "mirror" / STAND_IN.name).write_bytes(TEXT)
    wants(monkeypatch, Need("faces", "cpu", (network, STAND_IN)))
    first_fetch.fetch_missing(SETTINGS, store)
    assert bool(store.find(STAND_IN)) == in_mirror
    assert not store.find(network)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [error for error in errors if error.startswith("MODELS_FETCH=on: 1 of 1 could not")] == errors[told:]
    errors = errors[:told]
    assert len(errors) == told
    assert all("network.txt could not be fetched" in error and STAND_IN.name not in error for error in errors)


def test_with_a_stand_in_there_nothing_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (store.folder / STAND_IN.name).write_bytes(TEXT)
    wants(monkeypatch, Need("faces", "cpu", (WORDS, STAND_IN)))
    with caplog.at_level(logging.INFO):
        first_fetch.fetch_missing(SETTINGS, store)
    assert caplog.text == ""
    assert not store.find(WORDS)


def test_a_folder_that_cannot_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wants(monkeypatch, Need("ocr", "cpu", (WORDS,)))
    store.folder.chmod(0o555)
    first_fetch.fetch_missing(SETTINGS, store)
    assert "cannot be written by user" in caplog.text
    assert not store.find(WORDS)


@pytest.fixture
def image(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container of the image with MODELS_DIR; the table of what is mounted."""
    monkeypatch.setenv(remedies.IN_IMAGE, "1")
    monkeypatch.setenv("MODELS_DIR", str(store.folder))
    monkeypatch.setattr(remedies, "MOUNTS", mounts := tmp_path / "mountinfo")
    mounts.write_text("")
    return mounts


def test_a_container_without_the_folder(
    store: Store, image: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wants(monkeypatch, Need("ocr", "cpu", (WORDS,)))
    store.folder.chmod(0o555)
    first_fetch.fetch_missing(SETTINGS, store)
    assert f"no folder is mounted at {store.folder}. Start the container with -v FOLDER:{store.folder}" in caplog.text
    caplog.clear()
    store.folder.chmod(0o755)  # the container's own layer
    first_fetch.fetch_missing(SETTINGS, store)
    assert "what is fetched goes with this container" in caplog.text
    assert store.find(WORDS)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (os.ST_RDONLY, "is mounted to be read only. Take the :ro"),
        (0, "; for a named volume docker run --rm --user 0 -v VOLUME:"),
    ],
)
def test_a_mounted_folder_that_cannot_be_written(
    flags: int,
    words: str,
    store: Store,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the one of MODELS_DIR that is named, and not the image's own, which is tried after it."""
    wants(monkeypatch, Need("ocr", "cpu", (WORDS,)))
    image.write_text(f"36 35 98:0 /m {store.folder} rw - ext4 /dev/sda1 rw\n")
    (spare := store.folder.with_name("spare")).mkdir(mode=0o555)
    store.folder.chmod(0o555)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flags))
    first_fetch.fetch_missing(SETTINGS, Store(store.folder, spare=spare))
    assert f"MODELS_FETCH=on: {store.folder} " in caplog.text
    assert words in caplog.text


@pytest.mark.parametrize(("said", "asked"), [("hailo8l", ["hailo8", "hailo8l"]), ("", ["hailo8"])])
def test_the_card_tells_which_files(
    said: str, asked: list[Chip], store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chips = wants(monkeypatch, Need("faces", "hailo8", (hef_file("hailo8"),)))
    monkeypatch.setattr(first_fetch, "ASK_CHIP", (sys.executable, "-c", f"print({said!r}); exit({not said:d})"))
    first_fetch.fetch_missing(SETTINGS, store)
    assert chips == asked
    assert ("does not say what chip it is" in caplog.text) == (not said)


def test_a_card_that_does_not_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def silent(*_: Any, **more: Any) -> Any:
        raise subprocess.TimeoutExpired("doctor", more["timeout"])

    wants(monkeypatch, Need("faces", "hailo8", (hef_file("hailo8"),)))
    monkeypatch.setattr(subprocess, "run", silent)
    first_fetch.fetch_missing(SETTINGS, store)
    assert "it did not answer within 60 s" in caplog.text


def test_what_the_settings_want(tmp_path: Path) -> None:
    wanted = first_fetch._needs(SETTINGS, Store(tmp_path), "hailo8")
    assert {need.engine for need in wanted} >= {"cpu"}
    assert not any(need.optional for need in wanted)


def test_an_idle_worker_names_the_card_s_own_files() -> None:
    """Both chips' files have one name: without a word, a Hailo-8's would be fetched."""
    worker = Worker(SETTINGS)
    worker.places = [
        cast(Place, SimpleNamespace(engine=SimpleNamespace(files=lambda network: (network.hef["hailo8l"],))))
    ]
    assert worker._for_this_chip() == ("--engine", "hailo", "--chip", "hailo8l")
    worker.places = []
    assert worker._for_this_chip() == ()
    worker.close()
