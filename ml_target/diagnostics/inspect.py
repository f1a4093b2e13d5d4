"""`python3 -m ml_target inspect FILE…`: what a HEF is, its inputs and outputs, and which of our networks it is."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from ml_target.catalogue.networks import NETWORKS
from ml_target.catalogue.types import Network
from ml_target.diagnostics.file_kind import OURS, why_no_hef
from ml_target.diagnostics.settings import Environment
from ml_target.engines.hailo.fit import bind_group, group_name
from ml_target.engines.hailo.made_for import newer
from ml_target.engines.hailo.status import describe
from ml_target.errors import DamagedFileError, ModelError
from ml_target.hailort.load import import_hailort
from ml_target.hef.header import LAYOUTS, RUNS_ON, HefHeader, read_header, verify
from ml_target.hef.streams import Group, HefContent, Stream, channel_quantisation, read_streams

HEADINGS = ("", "stream", "shape", "type", "order", "scale", "zero point", "limits", "pairs", "role", "made from")
NEEDS_LIBRARY = (
    "not shown, it needs HailoRT's Python package: how the library reads the file, and the compiler's estimate of "
    "frames a second"
)
DRIVEN = {number for numbers in RUNS_ON.values() for number in numbers}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description = run.__doc__
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Prints what each file holds. Exit code 1 if one is damaged, not a HEF, or for an unsupported chip."""
    good = True
    for count, path in enumerate(arguments.files):
        problems: list[str] = []
        print("\n" * (count > 0) + str(path))
        for line in report(path, problems):
            print(f"  {line}".rstrip())
        for problem in problems:
            print(f"  WRONG      {problem}")
        good = good and not problems
    return 0 if good else 1


def report(path: Path, problems: list[str]) -> Iterator[str]:
    """The lines about one file; what is wrong with it is added to `problems`."""
    if why := why_no_hef(path):
        problems.append(why)
        return
    try:
        header = read_header(path)
    except ModelError as error:
        problems.append(_in_words(path, error))
        return
    yield f"container  version {header.container}, {path.stat().st_size:,} bytes"
    yield f"chip       {header.chip} (architecture {header.architecture})"
    yield f"compiler   {header.compiler or 'not stated'}"
    if header.architecture not in DRIVEN:
        problems.append(f"compiled for {header.chip}: this worker drives Hailo-8 and Hailo-8L, which cannot run it")
    yield f"checksum   {_checksum(path, header, problems)}"
    try:
        content = read_streams(path)
    except ModelError as error:
        problems.append(_in_words(path, error))
        return
    yield from _groups(content, problems)
    yield from _library(path, header)


def _in_words(path: Path, error: ModelError) -> str:
    """What is wrong, with a remedy. Fetching helps only if the file is one of the worker's own."""
    if isinstance(error, DamagedFileError) and path.name not in OURS:
        return f"{error.reason}. Download it again from where it came."
    return str(error)


def _checksum(path: Path, header: HefHeader, problems: list[str]) -> str:
    name = LAYOUTS[header.container].checksum_name
    try:
        verify(path)
    except ModelError as error:
        problems.append(_in_words(path, error))
        return f"{name} does NOT match"
    return f"{name} {header.checksum.hex()} matches"


def _groups(content: HefContent, problems: list[str]) -> Iterator[str]:
    if len(content.groups) != 1:
        problems.append(f"it holds {len(content.groups)} network groups; this worker serves files with one")
    if content.scale_per_channel:
        yield "scales     each output channel has its own pair of scale and zero point on the chip"
    for group in content.groups:
        contexts = "single context" if not group.multi_context else f"{group.contexts} contexts, loaded for every burst"
        yield f"group      {group.name}, {contexts}"
        network, served = serves(group)
        yield f"serves     {served}"
        yield from _table(group, network)


def serves(group: Group) -> tuple[Network | None, str]:
    """The catalogue's network that the group matches, by shape and then by name; and the answer in words."""
    reasons = {network.name: _misfit(group, network) for network in NETWORKS}
    fitting = [network for network in NETWORKS if not reasons[network.name]]
    named = next((network for network in fitting if group_name(network) == group.name), None)
    if named is not None:
        return named, f"{named.name} ({named.task}, {named.stage})"
    if fitting:
        names = " or ".join(network.name for network in fitting)
        return fitting[0], f"by its shapes {names}, but it calls itself {group.name}"
    why = next((f": {reasons[n.name]}" for n in NETWORKS if group_name(n) == group.name), "")
    return None, f"no network of the catalogue{why}"


def _misfit(group: Group, network: Network) -> str:
    """Why the group is not this network; "" if it may be."""
    try:
        bind_group(group, network)
    except ModelError as error:
        return str(error)
    return ""


def _table(group: Group, network: Network | None) -> Iterator[str]:
    bindings = bind_group(group, network) if network else ()
    roles = {group.outputs[binding.index].name: binding.output.role for binding in bindings}
    if network and network.stage != "textual":
        roles |= {stream.name: "picture" for stream in group.inputs}
    elif network:
        roles |= {stream.name: "token embeddings" for stream in group.inputs}
    rows = [HEADINGS, *(_row(stream, roles.get(stream.name, "-")) for stream in (*group.inputs, *group.outputs))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _row(stream: Stream, role: str) -> tuple[str, ...]:
    shape = "x".join(map(str, stream.shape))
    if stream.padded:
        shape += f" (chip {'x'.join(map(str, stream.padded_shape))})"
    return (
        "in" if stream.direction == "input" else "out",
        stream.name,
        shape,
        stream.dtype,
        stream.order
        + (f" ({stream.host_operation} on the host)" if stream.host_operation else "")
        + (" TRANSPOSED" if stream.transposed else ""),
        f"{stream.scale:.7g}",
        f"{stream.zero_point:g}",
        f"{stream.limits[0]:.4g} to {stream.limits[1]:.4g}",
        _pairs(stream),
        role,
        ", ".join(stream.original_names),
    )


def _pairs(stream: Stream) -> str:
    """How many pairs of scale and zero point the channels have, and whether they are all equal."""
    try:
        scales, _ = channel_quantisation(stream)
    except ModelError:
        return "DIFFER" if stream.per_channel else "IMPOSSIBLE"
    if len(scales) > 1:
        return f"{len(scales)}, each its own"
    return f"{len(stream.per_channel)} equal" if stream.per_channel else "-"


def _library(path: Path, header: HefHeader) -> Iterator[str]:
    """What HailoRT itself reads, if its Python package is installed; no device is touched."""
    try:
        hailo_platform = import_hailort(Environment.read(os.environ).settings.hailort_dir)
    except Exception as error:  # a version mismatch shows as almost any of them
        absent = isinstance(error, ModuleNotFoundError) and error.name == "hailo_platform"
        yield f"library    {NEEDS_LIBRARY}" + ("" if absent else f" (it is installed, but fails: {error})")
        return
    library = f"HailoRT {getattr(hailo_platform, '__version__', 'of unknown version')}"
    try:
        hef = hailo_platform.HEF(str(path))
        for info in hef.get_network_groups_infos():
            contexts = "several contexts" if info.is_multi_context else "single context"
            streams = len(hef.get_all_vstream_infos(info.name))
            yield f"library    {library} reads {info.name}, {contexts}, {streams} streams"
            yield f"speed      {hef.bottleneck_fps(info.name):.4g} frames a second, the compiler's estimate"
    except Exception as error:
        age = newer(header, str(getattr(hailo_platform, "__version__", "")))
        why = f"; {age.reason}. {age.remedy}." if age else ""
        yield f"library    {library} does not take it: {describe(error)}{why}"
