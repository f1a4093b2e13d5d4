"""One run of the selfcheck: what it printed and how it ended; the names of its checks."""

import json
from collections.abc import Callable
from typing import Any

from hailo_sim.build import constant
from hailo_sim.contracts import group_of

from ml_target.catalogue.types import Network

CHECKS = {
    "clip": ["clip.visual (tinyclip)", "clip.textual (tinyclip)", "clip search (tinyclip)"],
    "faces": ["faces.detection", "faces.recognition", "faces"],
    "ocr": ["ocr.detection", "ocr.recognition", "ocr"],
}

ALL = [name for names in CHECKS.values() for name in names]

CLIP, FACES, OCR = (("--task", task) for task in CHECKS)


class Run:
    """What one run printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.report: dict[str, Any] = json.loads(out) if out.startswith("{") else {}

    def check(self, name: str) -> dict[str, Any]:
        (one,) = [check for check in self.report["checks"] if check["name"] == name]
        return dict(one)

    def verdicts(self) -> dict[str, str]:
        return {check["name"]: check["verdict"] for check in self.report["checks"]}

    def figures(self, name: str) -> dict[str, str]:
        return {figure["key"]: figure["verdict"] for figure in self.check(name)["figures"]}


def nothing(network: Network) -> bytes:
    """Zeros for everything."""
    return constant(group_of(network), {})


Check = Callable[..., Run]
