"""Whether a HEF is the catalogue's network, as far as can be checked without a device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_target.catalogue.binding import Binding, Shape, bind
from ml_target.catalogue.networks import NETWORKS
from ml_target.catalogue.types import CHIPS, Network, PictureInput
from ml_target.engines.hailo.made_for import newer
from ml_target.errors import ModelError
from ml_target.hef.header import ARCHITECTURES, CHIP_NAMES, RUNS_ON, HefHeader, require_chip, verify
from ml_target.hef.streams import Group, Stream, channel_quantisation, read_streams, uniform_quantisation
from ml_target.remedies import replace

HAILO_8L = 3
# Plain arrays of one value after the other; HailoRT hands F8CR out as NHWC when it is asked to.
DENSE = ("NHWC", "FCR", "F8CR", "NHW", "NC")
# An operation on the host that leaves a plain array of floats.
HARMLESS = ("", "softmax")
DRIVEN = " and ".join(CHIP_NAMES.values())


@dataclass(frozen=True, slots=True)
class Fit:
    """A HEF and the catalogue's network it serves.

    `bindings`: which output plays which role, by position in `group.outputs`, which stand in
    HailoRT's order. `warnings`: what the user should know although it works.
    """

    header: HefHeader
    group: Group
    bindings: tuple[Binding, ...]
    warnings: tuple[str, ...] = ()

    @property
    def input(self) -> Stream:
        return self.group.inputs[0]

    def output(self, binding: Binding) -> Stream:
        """The stream that plays this role."""
        return self.group.outputs[binding.index]


def check_fit(path: Path, network: Network, chip: str | None = None, library: str = "") -> Fit:
    """Checks everything about a HEF that can be checked without a device; reads the whole file.

    `chip`: `hailo8` or `hailo8l`, None until the device has been identified. `library`: HailoRT's version,
    "" where it is not known. Raises ModelError with the remedy: damaged, for another chip, several
    network groups, not this network, a quantisation that cannot be honoured.
    """
    verify(path)
    content = read_streams(path)
    warnings = _require_architecture(path, content.header, chip) + _age(path, content.header, library)
    if len(content.groups) != 1:
        names = ", ".join(group.name for group in content.groups) or "none"
        raise ModelError(f"{path} holds {len(content.groups)} network groups ({names}), not one", _replace(network))
    group = content.groups[0]
    try:
        bindings = bind_group(group, network)
        return Fit(content.header, group, bindings, warnings + _require_name(path, group, network))
    except ModelError as error:
        raise ModelError(f"{path} does not fit {network.name}: {error.reason}", error.remedy) from error


def group_name(network: Network) -> str:
    """What the Model Zoo's compiler calls the network group."""
    return network.name.replace(".", "_")


def bind_group(group: Group, network: Network) -> tuple[Binding, ...]:
    """The roles of the group's outputs for this network.

    Raises ModelError, the streams of the file and what is wanted side by side, when it is another
    network, and when a quantisation cannot be honoured.
    """
    found = f"it has inputs {_list(group.inputs)} and outputs {_list(group.outputs)}"
    frame = _frame(group, network)
    if frame is None:
        raise ModelError(f"{found}, where one input {_wanted(network)} is wanted", _replace(network))
    for stream in (*group.inputs, *group.outputs):
        if stream.order not in DENSE or stream.host_operation not in HARMLESS:
            made = (
                f"made by {stream.host_operation} on the host" if stream.host_operation else f"of order {stream.order}"
            )
            raise ModelError(f"{found}, and {stream.name} is {made}, no plain array", _replace(network))
        if stream.transposed:
            raise ModelError(
                f"{found}, and {stream.name} is transposed: HailoRT hands it out with height and width exchanged, so "
                f"the answers would be wrong",
                _replace(network),
            )
        if stream.direction == "output":
            channel_quantisation(stream)
            continue
        scale, zero_point = uniform_quantisation(stream)
        if isinstance(network.input, PictureInput) and (scale, zero_point) != (1, 0):
            raise ModelError(
                f"its input takes scale {scale:g} and zero point {zero_point:g}, not the bytes of a picture: "
                f"the normalisation was not compiled in",
                _replace(network),
            )
    try:
        return bind(network.forms, [stream.shape for stream in group.outputs], frame)
    except ModelError as error:
        raise ModelError(f"{error.reason} ({found})", error.remedy) from error


def _require_architecture(path: Path, header: HefHeader, chip: str | None) -> tuple[str, ...]:
    if chip is not None and chip not in CHIPS:
        raise ModelError(f"{path}: this worker has no files for the chip {chip}; it drives {DRIVEN}.")
    if chip is not None:
        require_chip(header, chip, path)
    elif all(header.architecture not in numbers for numbers in RUNS_ON.values()):
        raise ModelError(
            f"{path} was compiled for {header.chip}; this worker drives {DRIVEN}",
            f"It is of no use here: {replace('--engine', 'hailo')}",
        )
    if chip == "hailo8" and header.architecture == HAILO_8L:
        return (
            f"{path} was compiled for {ARCHITECTURES[HAILO_8L]}; a Hailo-8 runs it, only slower. For its own "
            f"build {replace('--engine', 'hailo', '--chip', 'hailo8')}",
        )
    return ()


def _age(path: Path, header: HefHeader, library: str) -> tuple[str, ...]:
    """A newer file may still be read: only HailoRT knows."""
    found = newer(header, library)
    return (f"{path}: {found.reason}, which may refuse it. If so: {found.remedy}",) if found else ()


def _require_name(path: Path, group: Group, network: Network) -> tuple[str, ...]:
    """Two networks may have the same shapes and another meaning (the ArcFaces), so the name must not be another's."""
    if group.name in (group_name(each) for each in (network, network.template) if each):
        return ()
    other = next((n for n in NETWORKS if group_name(n) == group.name), None)
    if other is not None:
        raise ModelError(f"it is {other.name} under this name", _replace(network))
    return (f"{path} calls its network {group.name!r}, not {group_name(network)!r}: make sure that it is this network",)


def _frame(group: Group, network: Network) -> Shape | None:
    """The shape of the input where it is what the network takes: pixels, or one vector a token in any arrangement."""
    if len(group.inputs) != 1:
        return None
    stream, wanted = group.inputs[0], network.input
    if isinstance(wanted, PictureInput):
        fits = stream.shape == (wanted.height, wanted.width, 3) and stream.dtype == "uint8"
    else:
        fits = math.prod(stream.shape) == wanted.tokens * wanted.width and stream.shape[-1] == wanted.width
    return stream.shape if fits else None


def _wanted(network: Network) -> str:
    if isinstance(network.input, PictureInput):
        return f"{network.input.height}x{network.input.width}x3 uint8"
    return f"of {network.input.tokens} tokens x {network.input.width} numbers"


def _replace(network: Network) -> str:
    if network.template is not None:
        return "Compile it as docs/compiling.md says, or put the right file there."
    return f"Replace it by the catalogue's {network.name}.hef: {replace()}"


def _list(streams: Sequence[Stream]) -> str:
    return "{" + ", ".join(map(str, streams)) + "}"
