"""Cutting tensors out of checkpoints: both forms, made by hand, and hostile ones."""

import io
import json
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import file_server
import numpy as np
import pytest
from checkpoint_files import (
    HEAD,
    PLAN,
    TOKENS,
    Rebuilt,
    Stored,
    cut_out,
    raw,
    safetensors,
    tensor,
    torch_archive,
    torch_zip,
)
from file_server import hasty

from ml_target.catalogue.types import CheckpointCut
from ml_target.errors import FetchError, ModelError
from ml_target.store.weights import checkpoints
from ml_target.store.weights.checkpoints import open_checkpoint
from ml_target.store.weights.text import cut, load_text_weights
from ml_target.transfer.partial import WebFile
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import SourceError

RNG = np.random.default_rng(8)


# ------------------------------------------------------------ files by hand


def state_dict() -> OrderedDict[str, Rebuilt]:
    return OrderedDict({"model.tokens": tensor("0", TOKENS), "model.head": tensor("1", HEAD)})


STORAGES = {"0": TOKENS.tobytes(), "1": HEAD.tobytes()}

# ------------------------------------------------------------------- reading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_safetensors(folder: Path) -> None:
    arrays = cut_out(safetensors({"model.head": ("F32", HEAD), "model.tokens": ("F32", TOKENS)}), folder)
    assert set(arrays) == {"tokens", "head"}
    assert np.array_equal(arrays["tokens"], TOKENS)
    assert np.array_equal(arrays["head"], HEAD.T), "T: stores transposed"


def test_torch_zip(folder: Path) -> None:
    arrays = cut_out(torch_zip(state_dict(), STORAGES), folder)
    assert np.array_equal(arrays["tokens"], TOKENS)
    assert np.array_equal(arrays["head"], HEAD.T)


@pytest.mark.parametrize("root", ["archive", "pytorch_model", "a/b"])
def test_torch_zip_whatever_its_folder_is_called(folder: Path, root: str) -> None:
    assert np.array_equal(cut_out(torch_zip(state_dict(), STORAGES, root=root), folder)["tokens"], TOKENS)


@pytest.mark.parametrize("nest", ["state_dict", "model"])
def test_torch_tables_one_level_down(folder: Path, nest: str) -> None:
    content = {nest: state_dict(), "epoch": 3, "names": ["a", None, 1.5, True]}
    assert np.array_equal(cut_out(torch_zip(content, STORAGES), folder)["tokens"], TOKENS)


@pytest.mark.parametrize(("kind", "storage"), [("F32", "Float"), ("F16", "Half"), ("BF16", "BFloat16")])
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_kinds_of_numbers(folder: Path, form: str, kind: str, storage: str) -> None:
    data = raw(TOKENS, kind)
    if form == "torch":
        content = torch_zip({"model.tokens": tensor("0", TOKENS, storage)}, {"0": data})
    else:
        content = safetensors({"model.tokens": (kind, TOKENS)})
    got = cut_out(content, folder, CheckpointCut((), {"tokens": PLAN.tensors["tokens"]}, dtype="float32"))["tokens"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, TOKENS, rtol={"F32": 0, "F16": 1e-3, "BF16": 8e-3}[kind])


def test_float16_is_the_default(folder: Path) -> None:
    plan = CheckpointCut((), {"tokens": ("t",)})
    assert cut_out(safetensors({"t": ("F32", TOKENS)}), folder, plan)["tokens"].dtype == np.float16


def test_offset_into_a_shared_storage(folder: Path) -> None:
    data = b"\1" * 40 + TOKENS.tobytes() + b"\1" * 8
    content = torch_zip({"model.tokens": tensor("0", TOKENS, offset=10)}, {"0": data})
    plan = CheckpointCut((), {"tokens": ("model.tokens",)}, dtype="float32")
    assert np.array_equal(cut_out(content, folder, plan)["tokens"], TOKENS)


def test_mapped_array_is_streamed_into_its_own_file(folder: Path) -> None:
    arrays = cut_out(
        safetensors({"model.head": ("F32", HEAD), "model.tokens": ("F32", TOKENS)}), folder, mapped=("tokens",)
    )
    with np.load(folder / "weights.npz") as inside:
        assert inside.files == ["head"]
    assert isinstance(arrays["tokens"], np.memmap)
    assert np.array_equal(arrays["tokens"], TOKENS)
    assert not arrays["tokens"].flags.writeable


def test_a_mapped_array_may_be_transposed(folder: Path) -> None:
    content = safetensors({"model.head": ("F32", HEAD), "model.tokens": ("F32", TOKENS)})
    arrays = cut_out(content, folder, mapped=("head",))
    assert np.array_equal(arrays["head"], HEAD.T)
    assert isinstance(arrays["head"], np.memmap)


def test_text_weights_that_cannot_be_loaded(folder: Path) -> None:
    (folder / "weights.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ModelError, match=r"loaded .*Fetch it again: .*models fetch weights\.npz"):
        load_text_weights(folder / "weights.npz")


# ---------------------------------------------------------- over the network


@pytest.fixture
def server() -> Iterator[file_server.FileServer]:
    with file_server.serving() as state:
        yield state


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_only_what_is_wanted_is_transferred(folder: Path, server: file_server.FileServer, form: str) -> None:
    other = np.zeros((2_000_000,), np.float32)
    if form == "torch":
        storages = {"0": TOKENS.tobytes(), "1": HEAD.tobytes(), "2": other.tobytes(), "3": other.tobytes()}
        views = {"a": tensor("2", other), **state_dict(), "b": tensor("3", other)}
        content = torch_zip(views, {k: storages[k] for k in "2013"})
    else:
        content = safetensors(
            {"a": ("F32", other), "model.tokens": ("F32", TOKENS), "model.head": ("F32", HEAD), "b": ("F32", other)}
        )
    server.add("/checkpoint", content)
    with WebFile(hasty(), f"{server.url}/checkpoint") as file, Progress(None).transfer("x") as transfer:
        cut(file, PLAN, folder / "w.npz", {}, transfer)
    assert np.array_equal(load_text_weights(folder / "w.npz")["tokens"], TOKENS)
    assert len(content) > 16_000_000
    assert server.total < 600_000


def test_a_cut_in_the_middle_of_a_tensor_is_taken_up_again(folder: Path, server: file_server.FileServer) -> None:
    big = RNG.standard_normal((500_000,)).astype(np.float32)
    content = safetensors({"t": ("F32", big)})
    served = server.add("/checkpoint", content)
    with WebFile(hasty(), f"{server.url}/checkpoint") as file, Progress(None).transfer("x") as transfer:
        served.cuts = [700_001, 300_002]
        cut(file, CheckpointCut((), {"t": ("t",)}, dtype="float32"), folder / "w.npz", {}, transfer)
    assert np.array_equal(load_text_weights(folder / "w.npz")["t"], big)
    assert server.total < len(content) + 70_000, "nothing is sent twice but the first block"


def test_without_space_nothing_is_transferred(
    folder: Path, server: file_server.FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = np.zeros((2_000_000,), np.float32)
    server.add("/checkpoint", safetensors({"t": ("F32", big)}))
    plan = CheckpointCut((), {"t": ("t",)})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 18_000_000}))
    with (
        WebFile(hasty(), f"{server.url}/checkpoint") as file,
        Progress(None).transfer("x") as transfer,
        pytest.raises(FetchError, match=r"no space left in .*: 4 MB are needed, 18 MB are free\. Free some"),
    ):
        cut(file, plan, folder / "w.npz", {}, transfer)
    assert server.total < 200_000
    assert not (folder / "w.npz").exists()


# -------------------------------------------------------------------- refusals


def refused(content: bytes, folder: Path, match: str) -> None:
    with pytest.raises(SourceError, match=match):
        cut_out(content, folder)


def test_a_tensor_that_is_not_there(folder: Path) -> None:
    content = safetensors({"model.tokens": ("F32", TOKENS)})
    refused(content, folder, r"has no tensor for head \(looked for T:model.head\)")


def test_numbers_of_another_kind_do_not_count(folder: Path) -> None:
    content = safetensors({"model.tokens": ("I64", np.zeros((2, 2), np.int64)), "model.head": ("F32", HEAD)})
    refused(content, folder, "has no tensor for tokens")
    views = {"model.tokens": tensor("0", TOKENS, "Long"), "model.head": tensor("1", HEAD)}
    refused(torch_zip(views, STORAGES), folder, "has no tensor for tokens")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x01", b"\xff" * 64, (5).to_bytes(8, "little") + b"[1]  ", (2).to_bytes(8, "little") + b"{]" + bytes(8)],
)
def test_what_is_no_safetensors_file(folder: Path, content: bytes) -> None:
    refused(content, folder, "not a safetensors file")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [50, 8], "data_offsets": [0, 1_000_000]},
        {"dtype": "F32", "shape": [51, 8], "data_offsets": [0, 1600]},
        {"dtype": "F32", "shape": [50, 8], "data_offsets": [-1600, 0]},
        {"dtype": "F32", "shape": "x", "data_offsets": [0, 1600]},
        {"dtype": "F32", "shape": [50, 8]},
    ],
)
def test_a_safetensors_header_that_lies(folder: Path, entry: dict[str, Any]) -> None:
    text = json.dumps({"model.tokens": entry}).encode()
    refused(
        len(text).to_bytes(8, "little") + text + TOKENS.tobytes(), folder, "not a safetensors file, or it is damaged"
    )


def test_numbers_that_are_not_finite_or_do_not_fit(folder: Path) -> None:
    plan = CheckpointCut((), {"t": ("t",)})
    for value, words in ((np.inf, "not finite"), (np.nan, "not finite"), (1e6, "do not fit float16")):
        with pytest.raises(SourceError, match=words):
            cut_out(safetensors({"t": ("F32", np.array([value], np.float32))}), folder, plan)


def test_the_old_form_is_refused_in_words(folder: Path) -> None:
    refused(checkpoints.LEGACY_MAGIC + bytes(100), folder, "PyTorch's old format .*save it again")


def test_a_zip_that_is_no_checkpoint(folder: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(out.getvalue(), folder, r"it has no data\.pkl")


def test_a_big_endian_checkpoint(folder: Path) -> None:
    refused(torch_zip(state_dict(), STORAGES, byteorder="big"), folder, "big-endian machine")


def test_a_cut_torch_zip(folder: Path) -> None:
    refused(torch_zip(state_dict(), STORAGES)[:-40], folder, "archive cannot be read .*get it again")


def test_a_flipped_bit_in_a_storage(folder: Path) -> None:
    content = bytearray(torch_zip(state_dict(), STORAGES))
    content[content.index(TOKENS.tobytes()) + 100] ^= 1
    refused(
        bytes(content), folder, r"model\.tokens in the checkpoint is damaged \(Bad CRC-32 .*get the checkpoint again"
    )


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (Rebuilt(Stored("Float", "0", 400), 0, (8, 50), (1, 8)), "not stored row by row"),
        (Rebuilt(Stored("Float", "0", 400), 0, (50, 8), (16, 1)), "not stored row by row"),
        (Rebuilt(Stored("Float", "0", 400), 0, (50, 8), (8,)), "not stored row by row"),
        (Rebuilt(Stored("Float", "0", 400), 1, (50, 8), (8, 1)), "reaches beyond its storage"),
        (Rebuilt(Stored("Float", "0", 400), -1, (50, 8), (8, 1)), "described in an unknown way"),
        (Rebuilt(Stored("Float", "9", 400), 0, (50, 8), (8, 1)), "described in an unknown way"),
        (Rebuilt(Stored("Float", "0", 400), 0, (-50, 8), (8, 1)), "described in an unknown way"),
        (Rebuilt(Stored("Float", "0", 400), 0, ("a", 8), (8, 1)), "described in an unknown way"),  # type: ignore[arg-type]
    ],
)
def test_views_that_cannot_be_read(folder: Path, view: Rebuilt, words: str) -> None:
    refused(torch_zip({"model.tokens": view, "model.head": tensor("1", HEAD)}, STORAGES), folder, words)


def test_a_packed_storage(folder: Path) -> None:
    out = io.BytesIO(torch_zip(state_dict(), {"1": HEAD.tobytes()}))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", TOKENS.tobytes())
    refused(out.getvalue(), folder, r"model\.tokens is packed")


# ---------------------------------------------------------------------- attacks


class Attack:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_with_code_is_refused_and_not_run(folder: Path, protocol: int) -> None:
    marker = folder / "it-ran"
    pickled = pickle.dumps({"model.tokens": Attack(marker)}, protocol)
    refused(
        torch_archive(pickled, STORAGES), folder, r"is refused: it wants to use posix\.system.*nothing of it was run"
    )
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins\neval", "builtins\ngetattr", "torch\nload", "torch._utils\n_rebuild_qtensor", "argparse\nNamespace"],
)
def test_every_other_name_is_refused(folder: Path, name: str) -> None:
    refused(torch_archive(f"c{name}\n.".encode(), {}), folder, "is refused: it wants to use")


@pytest.mark.parametrize(
    "program",
    [
        # BUILD on the stand-ins for names, with an attribute dict and with a slot dict
        b"ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__call__K\x01sb.",
        b"ctorch\nFloatStorage\n}X\x04\x00\x00\x00kindX\x03\x00\x00\x00F16sb.",
        b"ctorch\nFloatStorage\n(N}X\x09\x00\x00\x00__class__K\x01stb.",
        # calling what is not to be called; NEWOBJ with it
        b"ctorch\nFloatStorage\n)R.",
        b"ctorch\nFloatStorage\n)\x81.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_parameter\n)R.",
        # storages that are none
        b"K\x01Q.",
        b"(X\x07\x00\x00\x00storageK\x01X\x01\x00\x00\x000tQ.",
        # not a pickle, an endless one, a recursive one
        b"hello",
        b"",
        b"\x80\x02" + b"(" * 100,
        b"\x80\x02]q\x00h\x00a",
    ],
)
def test_programs_that_tamper_are_refused(folder: Path, program: bytes) -> None:
    before = {name: vars(checkpoints)[name] for name in ("_Maker", "_Kind", "_View", "_Table")}
    with pytest.raises(SourceError):
        cut_out(torch_archive(program, STORAGES), folder)
    assert before == {name: vars(checkpoints)[name] for name in before}
    assert np.array_equal(cut_out(torch_zip(state_dict(), STORAGES), folder)["tokens"], TOKENS), "nothing stuck"


def test_attributes_hung_on_a_table_are_dropped() -> None:
    made = checkpoints._InertUnpickler(b"ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__K\x01sb.").load()
    assert type(made) is checkpoints._Table


def test_an_enormous_pickle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_PICKLE", 100)
    refused(torch_zip(state_dict(), STORAGES), folder, "too many for a list of tensors")


def test_the_form_is_told_by_content(folder: Path) -> None:
    for content, kind in ((torch_zip(state_dict(), STORAGES), "TorchFile"), (safetensors({}), "SafetensorsFile")):
        (folder / "x.bin").write_bytes(content)
        with (folder / "x.bin").open("rb") as file:
            assert type(open_checkpoint(file)).__name__ == kind
