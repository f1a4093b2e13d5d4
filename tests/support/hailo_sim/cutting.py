"""Text towers as the compilers cut them: which ends of the graph lie inside the HEF."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx.utils

from hailo_sim.build import from_onnx
from hailo_sim.contracts import group_of
from hailo_sim.networks import Array
from ml_target.catalogue.types import Network, TextInput

End = Literal["vector", "states", "states before norm"]


def text_tower(
    network: Network,
    whole: Path,
    samples: Sequence[Array],
    *,
    positions_inside: bool = True,
    end: End = "vector",
    square: bool = True,
    chip: str = "hailo8",
) -> bytes:
    """A text HEF from an exported tower that goes from ids to the vector.

    `samples`: what the HEF will be given: token embeddings, with positions added where those
    are not inside; (tokens, width) float32. `end`: the pooled vector, or one row a token after
    or before the final norm. A tower that pools by its ids cannot end in "vector".
    """
    spec = network.input
    assert isinstance(spec, TextInput)
    model = onnx.load(str(whole))
    entry = _entry(model.graph, positions_inside=positions_inside)
    exit_ = _exit(model.graph, end)
    known = {i.name for i in [*model.graph.input, *model.graph.output, *model.graph.value_info]}
    for name in {entry, exit_} - known:
        shape = [1, spec.tokens, spec.width]
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    group = group_of(network, form=0 if end == "vector" else 1, square=square)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tower.onnx"
        onnx.save(onnx.utils.Extractor(model).extract_model([entry], [exit_]), str(file))
        return from_onnx(network, file, samples, group=group, chip=chip)


def _entry(graph: Any, *, positions_inside: bool) -> str:
    """The token lookup, or the sum of tokens and positions behind it."""
    tables = {i.name for i in graph.initializer if len(i.dims) == 2}
    ids = graph.input[0].name
    lookup = next(
        n for n in graph.node if n.op_type == "Gather" and n.input[0] in tables and ids in _ancestry(graph, n)
    )
    if positions_inside:
        return str(lookup.output[0])
    added = next(n for n in graph.node if n.op_type == "Add" and lookup.output[0] in n.input)
    return str(added.output[0])


def _ancestry(graph: Any, node: Any) -> set[str]:
    """The names that lead to the indices of a lookup, a few steps back."""
    makers = {name: n for n in graph.node for name in n.output}
    names = {node.input[1]}
    for _ in range(4):
        names |= {i for name in names if name in makers for i in makers[name].input}
    return names


def _exit(graph: Any, end: End) -> str:
    norm = [n for n in graph.node if n.op_type == "LayerNormalization"][-1]
    ends = {"vector": graph.output[0].name, "states": norm.output[0], "states before norm": norm.input[0]}
    return str(ends[end])
