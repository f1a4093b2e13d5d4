"""Files out of wheels with the real pip, on a folder of wheels made here, never on a network."""

from pathlib import Path

import pytest
from small_wheel import WORDS, entry, make_wheel

from ml_target.errors import FetchError
from ml_target.store import Store


def test_pip_brings_a_wheel_and_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    make_wheel(shelf)
    store = Store(tmp_path / "models")
    assert store.fetch(entry("words.txt", "tinyvocab/words.txt")).read_bytes() == WORDS
    with pytest.raises(FetchError, match=r"the package index that pip uses has no wheel for tinyvocab==9; point pip"):
        store.fetch(entry("more.txt", "tinyvocab/more.txt", "tinyvocab==9"))
    assert sorted(p.name for p in store.folder.iterdir()) == [".fetching", "checksums.json", "words.txt"]
