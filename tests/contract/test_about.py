"""What engines say of their device, for the page."""

from pathlib import Path

import pytest
from hailo_engines import Engines

from ml_target.engines.hailo import card
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.system.cards import Card


def test_the_processor() -> None:
    said = {finding.what: finding.detail for finding in OnnxEngine(threads=3, workers=2).about()}
    assert said.pop("ONNX Runtime").startswith("version ")
    assert said == {"inferences at a time": "2", "threads of one inference": "3"}


@pytest.mark.parametrize(("width", "ok"), [("1", None), ("4", True)])
def test_a_card_and_its_link(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: str, ok: bool | None
) -> None:
    facts = {"current_link_speed": "8.0 GT/s PCIe", "current_link_width": width}
    facts |= {"max_link_speed": "8.0 GT/s PCIe", "max_link_width": "4"}
    for name, fact in facts.items():
        (tmp_path / name).write_text(fact)
    ours, other = (Card(f"0000:{bus}:00.0", "0x2864", "hailo", tmp_path) for bus in ("01", "07"))
    monkeypatch.setattr(card, "cards", lambda: [ours, other])
    said = [
        finding for finding in engines.start().about() if finding.what in ("chip", "firmware", "HailoRT", "PCIe link")
    ]
    assert [finding.what for finding in said] == ["chip", "firmware", "HailoRT", "PCIe link"], "of its own card alone"
    assert said[0].detail == "Hailo-8"
    assert said[-1].ok is ok
    assert ("takes 4.0 times as long here" in said[-1].remedy) is (ok is None)
