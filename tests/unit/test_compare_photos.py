"""The photos that `compare` takes from a folder: Immich's previews alone, where it has any."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml_target.diagnostics.compare.photos import in_folder
from ml_target.errors import UnusableInput

ASSET = "0f9b7c1e-12ab-4cde-8f00-0123456789ab"


@pytest.mark.parametrize("mark", ["-", "_"])
def test_of_immich_s_own_folder_only_what_a_worker_is_sent(tmp_path: Path, mark: str) -> None:
    """Beside a preview there are a thumbnail, a large one, and pictures of people: all of them would be duplicates."""
    below = tmp_path / "user" / "0f" / "9b"
    below.mkdir(parents=True)
    sent = [f"{ASSET}{mark}preview.jpeg", f"{ASSET}{mark}preview.webp", f"{ASSET}_preview_edited.jpeg"]
    for name in (
        *sent,
        f"{ASSET}{mark}thumbnail.webp",
        f"{ASSET}{mark}fullsize.jpeg",
        f"{ASSET}.jpeg",
        "a-preview.jpg",
    ):
        (below / name).touch()
    photos, of = in_folder(tmp_path, 10)
    assert [photo.name for photo in photos] == sorted(f"user/0f/9b/{name}" for name in sent)
    assert of == 3


def test_a_preview_in_name_alone_leaves_other_photos_in(tmp_path: Path) -> None:
    for name in ("holiday-preview.jpg", "beach.JPG", "notes.txt"):
        (tmp_path / name).touch()
    assert [photo.name for photo in in_folder(tmp_path, 10)[0]] == ["beach.JPG", "holiday-preview.jpg"]


def test_folders_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    walk = os.walk

    def closed(top: Path, onerror: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
        onerror(PermissionError(13, "Permission denied", str(top / "user")))
        yield from walk(top)

    monkeypatch.setattr(os, "walk", closed)
    with pytest.raises(
        UnusableInput, match=r"1 folders in .* cannot be read, such as .*user \(Permission denied\)"
    ) as no:
        in_folder(tmp_path, 10)
    assert "--user" in no.value.remedy
    (tmp_path / "one.jpg").touch()
    with caplog.at_level(logging.WARNING):
        assert in_folder(tmp_path, 10)[1] == 1
    assert "what is in them is left out" in caplog.text
