"""`Bindings`: the buffers of one frame (docs/hailort.md §2.4)."""

from collections.abc import Callable, Sequence

from hailo_sim import status as codes
from hailo_sim.errors import HailoRTException, translated
from hailo_sim.networks import Array
from hailo_sim.status import fail


class BindingStream:
    """`Bindings.InferStream`: one buffer of one frame."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._buffer: Array | None = None

    def set_buffer(self, buffer: Array) -> None:
        """Contiguity and writability, nothing else: neither type nor shape nor size."""
        with translated():
            if not buffer.flags.c_contiguous:
                raise HailoRTException("Buffer must be C_CONTIGUOUS")
            if not buffer.flags.writeable:
                raise ValueError("array is not writeable")
            self._buffer = buffer

    def get_buffer(self, tf_format: bool | None = False) -> Array | None:
        """The very array that was set, whatever is in it by now."""
        return self._buffer


class Bindings:
    """One frame. There is no batch axis anywhere in this API."""

    InferStream = BindingStream

    def __init__(self, input_names: Sequence[str], output_names: Sequence[str]) -> None:
        self._input_names = list(input_names)
        self._output_names = list(output_names)
        self._inputs: dict[str, BindingStream] = {}
        self._outputs: dict[str, BindingStream] = {}

    def input(self, name: str = "") -> BindingStream:
        return _pick(name, self._input_names, self._inputs)

    def output(self, name: str = "") -> BindingStream:
        return _pick(name, self._output_names, self._outputs)

    def get(self) -> "Bindings":
        return self

    def buffers(self, names: Sequence[str], pick: Callable[[str], BindingStream]) -> dict[str, Array]:
        """Those that are set, at this moment: replacing one later does not change a frame in flight."""
        found = {name: pick(name).get_buffer(None) for name in names}
        return {name: buffer for name, buffer in found.items() if buffer is not None}


def _pick(name: str, names: Sequence[str], cache: dict[str, BindingStream]) -> BindingStream:
    """Cached. Unknown: 61; no name with several streams: 6."""
    with translated():
        if not name and len(names) != 1:
            fail(codes.INVALID_OPERATION)
        name = name or names[0]
        if name not in names:
            fail(codes.NOT_FOUND)
    return cache.setdefault(name, BindingStream(name))
