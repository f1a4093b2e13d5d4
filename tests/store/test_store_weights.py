"""Text weights in the store: cut out of a checkpoint, ready-made from a mirror, refused."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import store_files
from checkpoint_files import safetensors
from file_server import FileServer, hasty
from store_files import RNG, file, npz

from ml_target.catalogue.types import CheckpointCut, HubFile, ModelFile
from ml_target.errors import ModelError
from ml_target.store import Store, load_text_weights

server = store_files.server
folder = store_files.folder


TOKENS = RNG.standard_normal((300, 4)).astype(np.float32)
NORM = RNG.standard_normal((4,)).astype(np.float32)
CHECKPOINT = safetensors({"t": ("F32", TOKENS), "n": ("F32", NORM)})

CUT = CheckpointCut(
    (HubFile("org/repo", "a.safetensors"), HubFile("org/repo", "b.safetensors")),
    {"tokens": ("t",), "norm": ("n",)},
    dtype="float32",
    mapped=("tokens",),
)


def weights() -> ModelFile:
    return file(CUT, name="text_weights.npz", content=None)


def test_weights_are_cut_out_of_the_first_checkpoint_there_is(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/b.safetensors", CHECKPOINT)
    store = Store(folder, hf_endpoint=server.url)
    path = store.fetch(weights())
    assert sorted(p.name for p in folder.iterdir()) == [
        ".fetching",
        "checksums.json",
        "text_weights.npz",
        "text_weights.tokens.npy",
    ]
    arrays = load_text_weights(path)
    assert np.array_equal(arrays["tokens"], TOKENS)
    assert np.array_equal(arrays["norm"], NORM)
    assert isinstance(arrays["tokens"], np.memmap)
    assert store.check(weights(), path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_from_a_server_without_ranges(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/a.safetensors", CHECKPOINT, ranges=False)
    assert np.array_equal(load_text_weights(Store(folder, hf_endpoint=server.url).fetch(weights()))["tokens"], TOKENS)
    assert not list(folder.glob("*.whole*"))


@pytest.mark.parametrize("kind", ["folder", "http"])
@pytest.mark.parametrize("beside", [True, False])
def test_ready_made_weights_from_the_mirror(
    folder: Path, tmp_path: Path, server: FileServer, kind: str, beside: bool
) -> None:
    table = io.BytesIO()
    np.save(table, TOKENS)
    made = {"text_weights.npz": npz(norm=NORM) if beside else npz(norm=NORM, tokens=TOKENS)}
    made |= {"text_weights.tokens.npy": table.getvalue()} if beside else {}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
        server.add(f"/{name}", content)
    store = Store(folder, mirror=str(tmp_path) if kind == "folder" else server.url)
    assert np.array_equal(load_text_weights(store.fetch(weights()))["tokens"], TOKENS)


def test_weights_cut_from_a_checkpoint_on_the_mirror(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "org" / "repo").mkdir(parents=True)
    (tmp_path / "org" / "repo" / "a.safetensors").write_bytes(CHECKPOINT)
    path = Store(folder, mirror=str(tmp_path)).fetch(weights())
    assert np.array_equal(load_text_weights(path)["norm"], NORM)


def test_weights_that_lack_an_array(folder: Path) -> None:
    path = folder / "text_weights.npz"
    path.write_bytes(npz(tokens=TOKENS))
    with pytest.raises(ModelError, match=r"is damaged or not a \.npz file: it has no array norm\. Fetch it again"):
        Store(folder).check(weights(), path)
    path.write_bytes(npz(norm=NORM))
    with pytest.raises(ModelError, match=r"no array tokens, nor is text_weights\.tokens\.npy beside it"):
        Store(folder).check(weights(), path)
    (folder / "text_weights.tokens.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ModelError, match="is damaged or not"):
        Store(folder).check(weights(), path)


def test_weights_that_are_no_numbers(folder: Path) -> None:
    path = folder / "text_weights.npz"
    for bad in (np.array([np.nan]), np.array([1])):
        path.write_bytes(npz(norm=NORM, tokens=bad))
        with pytest.raises(ModelError, match="tokens does not hold finite floating-point numbers"):
            Store(folder).check(weights(), path)


def test_a_table_that_changed_later_is_refused(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/a.safetensors", CHECKPOINT)
    store = Store(folder, hf_endpoint=server.url)
    path = store.fetch(weights())
    store.check(weights(), path)
    np.save(folder / "text_weights.tokens.npy", TOKENS * 2)
    with pytest.raises(ModelError, match=r"text_weights\.tokens\.npy is not the file that was first used"):
        store.check(weights(), path)


def test_a_good_table_outlives_one_that_is_cut_or_another(folder: Path, server: FileServer) -> None:
    """The mirror's table beside ready-made weights takes the place of the pinned one only when it is the same."""
    source = server.add("/org/repo/resolve/main/a.safetensors", CHECKPOINT)
    path = Store(folder, hf_endpoint=server.url).fetch(weights())
    table, good = folder / "text_weights.tokens.npy", path.read_bytes()
    whole = table.read_bytes()
    source.statuses = [404] * 9
    server.add("/text_weights.npz", good)
    mirror = Store(folder, mirror=server.url, hf_endpoint=server.url, web=hasty())
    path.unlink()
    served = server.add("/text_weights.tokens.npy", whole, cuts=[1000, 0, 0, 0, 0])
    assert mirror.fetch(weights()) == path
    assert table.read_bytes() == whole
    path.unlink()
    other = io.BytesIO()
    np.save(other, TOKENS * 2)
    served.content, served.cuts, served.etag = other.getvalue(), [], '"edition-2"'
    with pytest.raises(
        ModelError, match=r": what came from there is refused: text_weights\.tokens\.npy is not the file"
    ):
        mirror.fetch(weights())
    assert table.read_bytes() == whole
    assert not list(folder.glob("*.part*"))
