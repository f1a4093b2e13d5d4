"""What is so at the moment, beside what was taken down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Present:
    """`tasks`: whether each is on. `devices`: what each engine's device says of itself. `decoded`, `decoded_limit`:
    bytes that pictures being worked on take, and may take. `build`: version, engine and backend."""

    ready: bool
    tasks: Mapping[str, bool]
    devices: Sequence[Mapping[str, Any]]
    decoded: int
    decoded_limit: int
    build: Mapping[str, str]
