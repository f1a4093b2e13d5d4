"""Checkpoints that PyTorch and safetensors themselves have written."""

import io
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import HEAD, TOKENS, cut_out

from ml_target.catalogue.types import CheckpointCut
from ml_target.transfer.web import SourceError


@pytest.fixture(params=["float32", "float16", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_files_of_real_torch(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    big = torch.from_numpy(TOKENS).to(getattr(torch, dtype))
    state = OrderedDict({"model.tokens": torch.nn.Parameter(big), "model.head": torch.from_numpy(HEAD).to(big.dtype)})
    state["view"] = big[3:5]
    state["count"] = torch.tensor(3)
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    out = io.BytesIO()
    torch.save(state, out)
    arrays = cut_out(out.getvalue(), tmp_path)
    assert np.array_equal(arrays["tokens"], big.float().numpy())
    assert np.array_equal(arrays["head"], state["model.head"].float().numpy().T)
    view = cut_out(out.getvalue(), tmp_path, CheckpointCut((), {"v": ("view",)}, dtype="float32"))["v"]
    assert np.array_equal(view, big[3:5].float().numpy())


def test_old_and_transposed_files_of_real_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    out = io.BytesIO()
    torch.save({"model.tokens": torch.zeros(2, 2)}, out, _use_new_zipfile_serialization=False)
    with pytest.raises(SourceError, match="PyTorch's old form"):
        cut_out(out.getvalue(), tmp_path)
    out = io.BytesIO()
    torch.save({"model.tokens": torch.from_numpy(TOKENS).T}, out)
    with pytest.raises(SourceError, match="not stored row by row"):
        cut_out(out.getvalue(), tmp_path)


def test_files_of_real_safetensors(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    values = torch.from_numpy(TOKENS).to(getattr(torch, dtype))
    content = library.save({"model.tokens": values, "model.head": torch.from_numpy(HEAD), "n": torch.tensor([1])})
    arrays = cut_out(content, tmp_path)
    assert np.array_equal(arrays["tokens"], values.float().numpy())
    assert np.array_equal(arrays["head"], HEAD.T)
