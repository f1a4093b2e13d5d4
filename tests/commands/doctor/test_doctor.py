"""The doctor as a whole: engines, settings, what it prints and returns."""

from collections.abc import Callable
from pathlib import Path

import pytest
from standin_host import LOADED, MEMORY, Host, Library, find

from ml_target.__main__ import main
from ml_target.diagnostics.doctor import read_settings
from ml_target.diagnostics.findings import as_json, as_text, from_json, verdict
from ml_target.diagnostics.hints import hints
from ml_target.remedies import command
from ml_target.system import cards as hailo_host
from ml_target.system.finding import Finding

KERNEL = {"dev/kmsg": "5,1,1,-;hailo: Init module. driver version 4.23.0"}

Run = Callable[..., tuple[int, str]]


def test_without_a_card(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, out = run()
    assert "ok card this machine has none; the processor runs the networks" in out
    assert "ok ONNX Runtime it can be loaded" in out
    assert "WRONG ocr off: ppocrv5_mobile_det.onnx, ppocrv5_mobile_rec.onnx, ppocrv5_dict.txt are not there" in out
    fetch = command("models fetch --engine cpu", MODELS_DIR=str(tmp_path / "models"))
    assert f"-> {fetch}, or put them into" in out
    assert (code, out.endswith("4 wrong\n")) == (1, True), "no task can be served"
    monkeypatch.setenv("ENGINE", "cpu")
    assert run()[1].replace("ENGINE=cpu ", "") == out
    monkeypatch.setenv("ENGINE", "hailo")
    code, out = run()
    assert code == 1
    assert "WRONG card this machine has no Hailo card, so ENGINE=hailo cannot work" in out
    assert "-> Seat the card and look at lspci -d 1e60:; or ENGINE=cpu" in out
    assert "scrfd_2.5g.hef, arcface_r50.hef are not there" in out
    assert out.endswith("5 wrong\n")


def test_without_a_card_and_all_is_there(run: Run, only_ocr: Path) -> None:
    code, out = run()
    assert code == 0, out
    assert "ok ocr on: ppocrv5_dict.txt" in out
    assert out.endswith("\n\nnothing is wrong\n")
    only_ocr.write_text("not the dictionary")
    code, out = run()
    assert code == 1
    assert "WRONG ocr off: " in out
    assert "ppocrv5_dict.txt" in out
    assert out.endswith("1 wrong\n")


def test_a_card_that_auto_passes_over(host: Host, run: Run, only_ocr: Path) -> None:
    host.card().card("0000:02:00.0").listed("hailo0").listed("hailo1", "0000:02:00.0").write(LOADED)
    code, out = run()
    assert code == 0, "the processor serves"
    assert "note card the processor is used, although this host has a Hailo card at 0000:01:00.0: no device node" in out
    assert "-> To use it, pass --device=/dev/hailo0 to this container" in out
    assert "ENGINE=cpu says that the processor is meant" in out
    assert "note device node no /dev/hailo0, though there are 2 cards on the bus" in out
    assert "HailoRT's Python package" not in out, "which the processor does without"


def test_bad_settings_hide_nothing_else(run: Run, monkeypatch: pytest.MonkeyPatch, only_ocr: Path) -> None:
    monkeypatch.setenv("ENGINE", "gpu")
    monkeypatch.setenv("IMMICH_PORT", "many")
    monkeypatch.setenv("HAILO_BATCH", "4")
    monkeypatch.setenv("MODELS_MIRROR", "http://somebody:secret@mirror.lan")
    code, out = run()
    assert code == 2
    assert "WRONG setting ENGINE=gpu: it takes one of auto, hailo, cpu\n" in out
    assert "WRONG setting IMMICH_PORT=many: it takes a whole number from 1 to 65535" in out
    assert "-> Correct it, or leave it out for the default. Until then the worker does not start" in out
    assert "ok settings HAILO_BATCH=4 MODELS_DIR=" in out
    assert "secret" not in out
    assert "ok ocr on:" in out
    assert out.endswith("2 wrong\n")
    code, words = run("--chip")
    assert (code, "ENGINE=gpu" in words) == (2, True)


def test_a_hint_is_a_note() -> None:
    settings, found = read_settings({"HAILO_BATCH": "4", "HAILO_BACTH": "8"})
    assert settings.hailo_batch == 4
    assert found == [
        Finding(None, "setting", next(hints(["HAILO_BACTH"]))),
        Finding(True, "settings", "HAILO_BATCH=4"),
    ]


def test_help_tells_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "exit status: 0 nothing wrong was found, 1 something is wrong or a task is off, 2 a setting is bad" in out


def test_all_is_well(host: Host, run: Run, library: Library, face_files: Path) -> None:
    host.healthy().write(KERNEL | MEMORY)
    code, out = run("--open")
    assert code == 0, out
    assert "ok identity HAILO8\n" in out
    assert "ok firmware 4.23.0\n" in out
    assert "48 °C" in out or "49 °C" in out
    assert "2.3 W" in out
    assert "the card can be opened" in out
    assert "ok kernel log no trouble with the card since its driver was loaded" in out
    assert "ok facial-recognition on: scrfd_2.5g.hef, arcface_mobilefacenet.hef" in out
    assert "memory" in out
    assert out.endswith("\n\nnothing is wrong\n")
    assert library.released == 1
    assert library.devices_released == 1
    assert library.params.scheduling_algorithm == 1


def test_findings_stand_in_columns() -> None:
    found = [Finding(True, "a", "one"), Finding(False, "longer", "two", "do this"), Finding(None, "b", "three")]
    assert as_text(found).splitlines() == [
        "ok     a       one",
        "WRONG  longer  two",
        "               -> do this",
        "note   b       three",
    ]


def test_findings_for_programs(run: Run, tmp_path: Path) -> None:
    code, out = run("--json")
    found = from_json(out)
    assert code == 1
    assert find(found, "card") == Finding(True, "card", "this machine has none; the processor runs the networks")
    fetch = command("models fetch --engine cpu", MODELS_DIR=str(tmp_path / "models"))
    assert find(found, "ocr").remedy.startswith(f"{fetch}, or put them into ")
    several = [Finding(False, "a", "ä", "b", bars=True), Finding(None, "c", "", looked=False)]
    assert from_json(as_json(several)) == several
    assert "\n" not in as_json(several)


def test_the_last_line() -> None:
    right, wrong, left = Finding(True, "a", ""), Finding(False, "b", ""), Finding(None, "c", "", looked=False)
    assert verdict([right, Finding(None, "d", "")]) == "nothing is wrong"
    assert verdict([right, wrong]) == "1 wrong"
    assert verdict([right, left, left]) == "nothing wrong was found; not looked at: c"
    assert verdict([wrong, left]) == "1 wrong; not looked at: c"


def test_engine_cpu_leaves_the_card_alone(
    host: Host, run: Run, library: Library, monkeypatch: pytest.MonkeyPatch, only_ocr: Path
) -> None:
    monkeypatch.setenv("ENGINE", "cpu")
    host.healthy()
    code, out = run()
    assert code == 0
    assert "note card it is left alone (ENGINE=cpu)" in out
    assert "ok ocr on:" in out
    assert out.endswith("nothing wrong was found; not looked at: card\n")
    assert library.ids is None


def test_the_machine_itself_is_looked_at_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    assert "system" in capsys.readouterr().out
    assert hailo_host.nodes() == sorted(Path("/dev").glob("hailo[0-9]*"))
