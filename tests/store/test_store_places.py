"""Where the store finds files, and where it writes them."""

import errno
import os
import threading
from pathlib import Path

import pytest
import store_files
from file_server import FileServer
from store_files import TEXT, file

from ml_target.catalogue.types import ZooFile
from ml_target.errors import FetchError
from ml_target.remedies import command
from ml_target.store import Store
from ml_target.store.record import exclusive
from ml_target.system.folders import writable

server = store_files.server
folder = store_files.folder
sealed = store_files.sealed


# ------------------------------------------------------------------------ find


def test_find_by_name_then_alias_in_folder_then_spare(folder: Path, tmp_path: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    entry = file(aliases=("upstream.txt", "older.txt"))
    store = Store(folder, spare=spare)
    assert store.find(entry) is None
    for place in (spare / "older.txt", spare / "words.txt", folder / "upstream.txt", folder / "words.txt"):
        place.write_bytes(b"whatever: find reads nothing")
        assert store.find(entry) == place


def test_a_file_from_the_spare_folder_is_told_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "words.txt").write_bytes(TEXT)
    store = Store(folder, spare=tmp_path)
    for _ in range(3):
        assert store.sound(file()) == tmp_path / "words.txt"
    told = f"words.txt is not in MODELS_DIR={folder}: the one in {tmp_path} is taken."
    assert [record.getMessage() for record in caplog.records] == [told]
    assert store.fallback() == "", "the folder itself is as it should be"


def test_a_folder_that_was_named_and_is_not_used_is_told_at_once(tmp_path: Path, sealed: Path) -> None:
    away, spare = tmp_path / "away", tmp_path / "spare"
    assert Store(away, spare=spare).fallback() == (
        f"MODELS_DIR={away} is not there: model files are taken from {spare}, and what is fetched goes to {away}."
    )
    assert Store(sealed / "away", spare=spare).fallback().endswith(f"and what is fetched goes to {spare}.")
    assert Store(sealed, spare=spare).fallback() == (
        f"MODELS_DIR={sealed} cannot be written: what is fetched goes to {spare}."
    )
    assert Store(spare, spare=spare).fallback() == "", "no folder was named"
    assert Store(away).fallback() == ""


def test_find_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert Store(tmp_path / "no" / "where").find(file()) is None


def test_a_folder_of_that_name_is_no_file(folder: Path) -> None:
    (folder / "words.txt").mkdir()
    assert Store(folder).find(file()) is None


def test_remedy_says_what_to_do(folder: Path) -> None:
    text = str(Store(folder).missing(file(ZooFile("a/words.txt"), aliases=("upstream.txt",))))
    assert text == (
        f"words.txt is not there: run {command('models fetch')}, put words.txt or upstream.txt into "
        f"{folder}, or point MODELS_MIRROR at a folder or address that has it."
    )
    assert "nobody publishes it" in str(Store(folder).missing(file()))


# ------------------------------------------------------------ where it writes


def test_the_folder_is_written_and_made(tmp_path: Path, server: FileServer) -> None:
    server.add("/a/words.txt", TEXT)
    store = Store(tmp_path / "new" / "models", spare=tmp_path / "spare")
    assert store.target == tmp_path / "new" / "models"
    assert store.fetch(file(ZooFile("a/words.txt"))).read_bytes() == TEXT
    assert sorted(p.name for p in store.target.iterdir()) == [".fetching", "checksums.json", "words.txt"]


def test_a_folder_without_write_permission_is_left_alone_even_by_root(
    sealed: Path, tmp_path: Path, server: FileServer
) -> None:
    server.add("/a/words.txt", TEXT)
    spare = tmp_path / "spare"
    store = Store(sealed, spare=spare)
    assert store.target == spare
    path = store.fetch(file(ZooFile("a/words.txt")))
    assert path == spare / "words.txt"
    assert store.check(file(), path)
    assert list(sealed.iterdir()) == []


def test_a_read_only_file_system(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    assert Store(folder, spare=tmp_path / "spare").target == tmp_path / "spare"


def test_nowhere_to_write(sealed: Path, server: FileServer) -> None:
    server.add("/a/words.txt", TEXT)
    for store in (Store(sealed), Store(sealed, spare=sealed / "inside"), Store(sealed, spare=sealed)):
        with pytest.raises(
            FetchError, match=r"words\.txt cannot be fetched: .* cannot be written.*chown.*or put words"
        ):
            store.fetch(file(ZooFile("a/words.txt")))
    assert server.asked == []


def test_writable_looks_at_the_nearest_folder_there_is(sealed: Path, tmp_path: Path) -> None:
    assert writable(tmp_path / "a" / "b")
    assert not writable(sealed / "a" / "b")
    (tmp_path / "plain").write_text("")
    assert not writable(tmp_path / "plain")


def test_one_process_fetches_at_a_time(folder: Path, server: FileServer) -> None:
    server.add("/a/words.txt", TEXT)
    entry = file(ZooFile("a/words.txt"))
    got: list[Path] = []
    with exclusive(folder):
        second = threading.Thread(target=lambda: got.append(Store(folder).fetch(entry)))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        (folder / "words.txt").write_bytes(TEXT)
    second.join(10)
    assert got == [folder / "words.txt"]
    assert server.asked == [], "what the first one brought is not brought again"


def test_a_disk_that_fills_up_ends_all_attempts(
    folder: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("/a/words.txt", TEXT)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FetchError, match=r"words\.txt could not be fetched: no space left in .*Free some"):
        Store(folder).fetch(file(ZooFile("a/words.txt"), ZooFile("b/words.txt")))
    assert len(server.asked) == 1
