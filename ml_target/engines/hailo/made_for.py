"""For which HailoRT a HEF was compiled, and what to say where the HailoRT here is an older one."""

from dataclasses import dataclass

from ml_target.hailort.driver import numbers
from ml_target.hef.header import HefHeader

MADE_FOR = {"3.30": "4.20", "3.31": "4.21", "3.32": "4.22", "3.33": "4.23"}
"""HailoRT by the Dataflow Compiler that goes with it, as Hailo's Model Zoo names them for its releases 2.14 to 2.17."""

FIRST_READER = {3: "4.21"}
"""The first HailoRT, of those from 4.20 on, that reads a file layout; all of them read the others."""

REFUSES = (26, 92)
"""What HailoRT says of a whole file that it cannot read: 92, and 26 before 4.21."""


@dataclass(frozen=True, slots=True)
class Newer:
    """A file that is newer than the HailoRT here. `reason`: half a sentence; `remedy`: one without its full stop."""

    reason: str
    remedy: str


def newer(header: HefHeader, library: str) -> Newer | None:
    """What to say of a file whose header this is; None where it is not known to be newer than HailoRT `library`."""
    here = numbers(library)[:2]
    named = {_pair(version): version for version in (_made_for(header), FIRST_READER.get(header.container, ""))}
    needed = max(named)
    if not here or needed <= here:
        return None
    compiler = f" by the Dataflow Compiler {header.compiler}" if header.compiler else ""
    older = next((compiler for compiler, made in MADE_FOR.items() if _pair(made) == here), "")
    instead = f", or put a build of it there that the Dataflow Compiler {older} has made" if older else ""
    return Newer(
        f"it was compiled{compiler} for HailoRT {named[needed]}, and HailoRT here is {library}",
        f"Install driver and HailoRT {named[needed]}, all of one version{instead}",
    )


def _made_for(header: HefHeader) -> str:
    return MADE_FOR.get(".".join(header.compiler.split(".")[:2]), "")


def _pair(version: str) -> tuple[int, ...]:
    """Major and minor; () for ""."""
    return tuple(map(int, version.split("."))) if version else ()
