"""Passwords in addresses and places in memory are in no word that the worker says."""

import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ml_target.catalogue.types import HubFile, ModelFile
from ml_target.config import Settings
from ml_target.errors import SettingsError, WorkerError
from ml_target.log.private import without_addresses, without_login, without_logins
from ml_target.log.requests import set_up
from ml_target.store import Store
from ml_target.store.offers import Mirror
from ml_target.transfer.web import Web, server_of, shown

FILE = ModelFile(name="words.txt", sources=(HubFile("org/repo", "words.txt"),), licence="MIT")

SECRETS = [
    "http://me:hunter2@files.lan/models",
    "https://hunter2@files.lan",
    "http://me:hun@ter2@files.lan/x?token=1",
    "http://me:hunter2/@files.lan:80/x",
    "http://me:#hunter2@files.lan/x",
    "http://me:hun?ter2@files.lan/x",
]


@pytest.mark.parametrize("address", SECRETS)
def test_an_address_without_its_login(address: str) -> None:
    for words in (without_login(address), shown(address)):
        assert "hunter2" not in words
        assert "ter2" not in words
        assert "files.lan" in words


@pytest.mark.parametrize("address", ["http://files.lan/a", "/mnt/models", "file:///mnt/@home", "", "me@home"])
def test_what_has_no_login_stays(address: str) -> None:
    assert without_logins(address) == address


def test_logins_in_the_middle_of_words() -> None:
    words = "tried http://a:b@c/d, then (https://e:f@g) and HTTPS_PROXY=http://h:i@j:3128."
    assert without_logins(words) == "tried http://***@c/d, then (https://***@g) and HTTPS_PROXY=http://***@j:3128."


def test_places_in_memory() -> None:
    with tempfile.SpooledTemporaryFile(1) as file:
        for thing in (io.BytesIO(), file, object(), test_places_in_memory, io.BytesIO().read):
            words = without_addresses(f"cannot identify image file {thing!r}.")
            assert "0x" not in words, words
    assert without_addresses("a <b> at 0 and 0x12") == "a <b> at 0 and 0x12"


def test_the_log_is_discreet(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        set_up(logging.DEBUG)
        for library in ("httpx2", "httpcore2.http11"):
            logging.getLogger(library).debug("GET /file?signature=hunter2")
        try:
            raise OSError("no route to http://me:hunter2@files.lan")
        except OSError:
            logging.getLogger("x").exception("asked %s", "https://me:hunter2@files.lan/y")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    said = capsys.readouterr().err
    assert "asked https://***@files.lan/y" in said
    assert "no route to http://***@files.lan" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("name", ["MODELS_MIRROR", "HF_ENDPOINT"])
def test_a_bad_setting_is_named_without_its_password(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({name: "http://me:hunter2@files.lan/\x07"})
    assert name in str(error.value)
    assert "hunter2" not in str(error.value)


@contextmanager
def telling(said: list[str]) -> Iterator[None]:
    """Keeps the words of the error that ends the block."""
    try:
        yield
    except Exception as error:
        said.append(str(error))
        raise


@pytest.mark.parametrize("address", ["http://me:hunter2@[::1", "http://me:hunter2/@files.lan:80/x", *SECRETS])
def test_no_fault_of_the_store_tells_a_password(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is wrong with the address: no such host, a malformed one, a proxy with a password that is malformed."""
    monkeypatch.setenv("http_proxy", "http://me:hunter2/@127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://me:hunter2@127.0.0.1:9")
    said: list[str] = []
    monkeypatch.setattr("ml_target.transfer.web.CONNECT_S", 0.5)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: Store(tmp_path, mirror=address).fetch(FILE),
        lambda: Store(tmp_path, hf_endpoint=address).fetch(FILE),
        lambda: server_of(address),
        lambda: Web().open(address),
        lambda: Mirror.at(address),
    )
    for attempt in attempts:
        with suppress(WorkerError), telling(said):
            attempt()
    assert said
    assert not [words for words in said if "hunter2" in words or "ter2" in words], said
