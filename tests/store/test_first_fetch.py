"""MODELS_FETCH=on: what is missing is fetched before the start goes on, and whatever stands in the way is told."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from store_files import TEXT, file, hef_file

from ml_target.catalogue.needs import Need
from ml_target.catalogue.types import Chip, HubFile
from ml_target.config import Settings
from ml_target.runtime import first_fetch
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


@pytest.mark.parametrize(("said", "asked"), [("hailo8l", ["hailo8", "hailo8l"]), ("", ["hailo8"])])
def test_the_card_tells_which_files(
    said: str, asked: list[Chip], store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chips = wants(monkeypatch, Need("faces", "hailo8", (hef_file("hailo8"),)))
    monkeypatch.setattr(first_fetch, "ASK_CHIP", (sys.executable, "-c", f"print({said!r}); exit({not said:d})"))
    first_fetch.fetch_missing(SETTINGS, store)
    assert chips == asked
    assert ("does not tell what chip it is" in caplog.text) == (not said)


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
