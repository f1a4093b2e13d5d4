"""A damaged file turns its task off, in red and with the remedy; the others are served, and fetching replaces it."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import fingerprint
from hailo_sim.status import HEF_FILE_CORRUPTED, fail
from hailo_worker import hef_path, models_folder
from light_towers import light_models, picture_tower
from selfcheck_models import onnx_path

from ml_target import remedies
from ml_target.catalogue import files
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    CLIP_BACKENDS,
    OCR_DETECTION,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    TINYCLIP,
)
from ml_target.config import Settings
from ml_target.engines.hailo.engine import HailoEngine, _refusal
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.status import FILE_STATUSES, STATUSES, remedy_of
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.errors import DamagedFileError, ModelError
from ml_target.runtime.assembly import Loader
from ml_target.runtime.place import open_places
from ml_target.runtime.registry import Services
from ml_target.scheduling.threads import ThreadPool
from ml_target.store import Store, command

Damage = Callable[[Path], None]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


def _page(file: Path) -> None:
    file.write_bytes(b"<!DOCTYPE html><html>log in</html>")


def _pointer(file: Path) -> None:
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _unreadable(file: Path) -> None:
    """Root may read everything, so the disk has to say it."""
    file.unlink()
    file.symlink_to("/proc/self/mem")


DAMAGES: tuple[Damage, ...] = (_cut, _flip, _page, _pointer, _empty, _unreadable)


@pytest.fixture(scope="module")
def sound(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the default settings for the simulated card."""
    return models_folder(wheel_models, tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def for_processor(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Search and text for the processor; no faces."""
    folder = light_models(tmp_path_factory.mktemp("processor"), wheel_models)
    for name in ("ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", files.OCR_DICTIONARY.name):
        (folder / name).symlink_to(wheel_models / name)
    return folder


def _copied(source: Path, to: Path) -> Path:
    shutil.copytree(source, to, symlinks=False)
    return to


@contextmanager
def _loaded(engine: str, folder: Path, spare: Path | None = None) -> Iterator[Services]:
    """The services that a start with this folder comes to; the simulated card takes no time."""
    settings = Settings(engine=engine, models_dir=folder, host_threads=2)  # type: ignore[arg-type]
    with simulated(Rig(clock="virtual")):
        host = ThreadPool(2)
        place, text = open_places(settings)
        try:
            yield Loader(settings, Store(folder, spare=spare), host, place, text).services()
        finally:
            for each in {place, text}:
                each.arbiter.close()
            host.close()
            for each in {place, text}:
                each.engine.close()


def _off(services: Services) -> dict[str, str]:
    return {label: service.why_off for label, service in services.all().items() if not service.on}


ON_THE_CARD = [
    (hef_path(Path(), SCRFD_2_5G).name, "facial-recognition"),
    (hef_path(Path(), ARCFACE_R50).name, "facial-recognition"),
    (hef_path(Path(), OCR_DETECTION).name, "ocr"),
    (hef_path(Path(), OCR_RECOGNITION).name, "ocr"),
    (files.OCR_DICTIONARY.name, "ocr"),
    (hef_path(Path(), TINYCLIP.visual).name, "clip.visual"),
    (hef_path(Path(), TINYCLIP.textual).name, "clip.textual"),
    (files.CLIP_VOCABULARY.name, "clip.textual"),
    (files.TINYCLIP_TEXT_WEIGHTS.name, "clip.textual"),
]
ON_THE_PROCESSOR = [
    ("ppocrv5_mobile_det.onnx", "ocr"),
    ("ppocrv5_mobile_rec.onnx", "ocr"),
    (onnx_path(Path(), TINYCLIP.visual).name, "clip.visual"),
    (onnx_path(Path(), TINYCLIP.textual).name, "clip.textual"),
]


@pytest.mark.parametrize(("number", "name", "task"), [(n, *each) for n, each in enumerate(ON_THE_CARD)])
def test_every_file_of_the_card_takes_its_own_task_with_it(
    sound: Path, tmp_path: Path, number: int, name: str, task: str
) -> None:
    folder = _copied(sound, tmp_path / "m")
    DAMAGES[number % len(DAMAGES)](folder / name)
    with _loaded("hailo", folder) as services:
        off = _off(services)
        assert list(off) == [task]
        assert name in off[task]
        assert f"etch it again: {remedies.command('models fetch')}" in off[task]
        described = services.all()[task].describe()
        assert described == {"on": False, "why": off[task], "fault": True}
        never = services.all()[task].never
        assert never is not None
        assert never.cause == f"{name} is damaged"


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_a_hef(sound: Path, tmp_path: Path, damage: Damage) -> None:
    folder = _copied(sound, tmp_path / "m")
    damage(hef_path(folder, SCRFD_2_5G))
    with _loaded("hailo", folder) as services:
        assert list(_off(services)) == ["facial-recognition"]


@pytest.mark.parametrize(("number", "name", "task"), [(n, *each) for n, each in enumerate(ON_THE_PROCESSOR)])
def test_every_file_of_the_processor(for_processor: Path, tmp_path: Path, number: int, name: str, task: str) -> None:
    folder = _copied(for_processor, tmp_path / "m")
    (_cut, _page, _pointer, _empty)[number](folder / name)
    with _loaded("cpu", folder) as services:
        off = _off(services)
        assert list(off) == [task, "facial-recognition"] if task.startswith("clip") else ["facial-recognition", task]
        assert services.all()[task].fault
        assert not services.all()["facial-recognition"].fault, "a file that is missing is no fault"


def test_weights_that_nobody_needs(wheel_models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The processor's text tower has them inside: it serves, and the damage is told."""
    folder = light_models(tmp_path / "m", wheel_models)
    (folder / files.TINYCLIP_TEXT_WEIGHTS.name).write_bytes(b"PK\x03\x04 and no more")
    with _loaded("cpu", folder) as services:
        assert services.all()["clip.textual"].on
    assert "not needed by this text tower" in caplog.text


def test_a_change_that_only_the_record_can_tell(wheel_models: Path, tmp_path: Path) -> None:
    """A flipped bit in a weight is a sound ONNX file."""
    folder = light_models(tmp_path / "m", wheel_models)
    file = onnx_path(folder, TINYCLIP.visual)
    with _loaded("cpu", folder) as services:
        assert services.all()["clip.visual"].on
    _flip(file)
    os.utime(file, ns=(1, 1))
    with _loaded("cpu", folder) as services:
        assert "is not the file that was first used" in _off(services)["clip.visual"]
        assert "delete its entry in" in _off(services)["clip.visual"]


def test_damage_under_an_untouched_date_is_found_before_half_a_task_is_on_the_card(sound: Path, tmp_path: Path) -> None:
    """The record says that nothing has changed; the HEF's own checksum says that something has."""
    folder = _copied(sound, tmp_path / "m")
    file = hef_path(folder, ARCFACE_R50)
    with _loaded("hailo", folder) as services:
        assert not _off(services)
    stat = file.stat()
    _flip(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with _loaded("hailo", folder) as services:
        assert "is damaged: its XXH3 is" in _off(services)["facial-recognition"]


def test_another_network_still_stops_the_worker(sound: Path, for_processor: Path, tmp_path: Path) -> None:
    folder = _copied(sound, tmp_path / "m")
    hef_path(folder, SCRFD_2_5G).write_bytes(fingerprint(OCR_DETECTION))
    with pytest.raises(ModelError, match=r"has inputs .* and outputs .* is wanted") as stop, _loaded("hailo", folder):
        pass
    assert not isinstance(stop.value, DamagedFileError)
    folder = _copied(for_processor, tmp_path / "n")
    picture_tower(onnx_path(folder, TINYCLIP.textual))
    with pytest.raises(ModelError, match=r"its input is .* is wanted") as stop, _loaded("cpu", folder):
        pass
    assert not isinstance(stop.value, DamagedFileError)


@pytest.mark.parametrize("status", FILE_STATUSES)
def test_hailorts_statuses_that_blame_the_file(status: int) -> None:
    refusal = _refusal(Path("a.hef"), status, "hailo8l")
    assert isinstance(refusal, DamagedFileError)
    assert STATUSES[status][0] in str(refusal)
    assert remedy_of(status, "--engine", "hailo", "--chip", "hailo8l") in str(refusal)
    assert ("models fetch" in str(refusal)) == ("--chip hailo8l" in str(refusal)), "the other chip's file has its name"


def test_a_file_that_only_hailort_refuses(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs its own task, not the card."""
    plain = HailoEngine._configure

    def configure(self: HailoEngine, network: HailoNetwork) -> None:
        if network.network is SCRFD_2_5G:
            fail(HEF_FILE_CORRUPTED)
        plain(self, network)

    monkeypatch.setattr(HailoEngine, "_configure", configure)
    with _loaded("hailo", _copied(sound, tmp_path / "m")) as services:
        off = _off(services)
        assert list(off) == ["facial-recognition"]
        assert "91 HAILO_HEF_FILE_CORRUPTED" in off["facial-recognition"]
        assert services.all()["facial-recognition"].fault


def test_a_network_that_opens_and_does_not_run(tmp_path: Path) -> None:
    """Its shapes are right as declared; inside, two numbers do not match."""
    import onnx

    file = picture_tower(tmp_path / "tower.onnx")
    model = onnx.load(file)
    (mixer,) = model.graph.initializer
    mixer.CopyFrom(onnx.numpy_helper.from_array(np.zeros((7, 512), np.float32), "mixer"))
    onnx.save(model, file)
    with pytest.raises(DamagedFileError, match=r"tower\.onnx .*Fetch it again"):
        OnnxEngine(threads=1).open(file, TINYCLIP.visual)


# ---------------------------------------------------------------- a second one


def test_a_good_one_in_the_spare_folder_serves_and_that_is_said(
    sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, spare = _copied(sound, tmp_path / "m"), tmp_path / "spare"
    spare.mkdir()
    shutil.copy(hef_path(folder, SCRFD_2_5G), spare)
    _page(hef_path(folder, SCRFD_2_5G))
    with _loaded("hailo", folder, spare) as services:
        assert not _off(services)
        (detector, _) = services.all()["facial-recognition"].describe()["networks"]
        assert detector["note"].startswith("in the place of a damaged file: ")
        assert "web page" in detector["note"]
    (said,) = (r for r in caplog.records if "serves in the place of a damaged file" in r.message)
    assert said.levelno == logging.ERROR
    assert said.message.startswith(f"{hef_path(spare, SCRFD_2_5G)} serves")


def test_the_other_file_of_the_same_network_serves_and_that_is_said(
    for_processor: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Text detection has two files for the processor; only the one with free sizes can be had from a package."""
    folder = _copied(for_processor, tmp_path / "m")
    free, fixed = (folder / file.name for file in OCR_DETECTION.onnx)
    shutil.copy(free, fixed)
    _cut(free)
    with _loaded("cpu", folder) as services:
        assert services.all()["ocr"].on
    assert f"{fixed} serves in the place of a damaged file" in caplog.text


# -------------------------------------------------------------------- fetching


def test_fetch_replaces_a_damaged_file_and_keeps_it_aside(
    sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = _copied(sound, tmp_path / "m")
    store = Store(folder, mirror=str(sound))
    for file, damage in (
        (files.OCR_DICTIONARY, _cut),
        (SCRFD_2_5G.hef["hailo8"], _flip),
        (TINYCLIP.text_weights, _page),
    ):
        good = (folder / file.name).read_bytes()
        damage(folder / file.name)
        bad = (folder / file.name).read_bytes()
        assert store.fetch(file) == folder / file.name
        assert (folder / file.name).read_bytes() == good
        assert (folder / f"{file.name}.damaged").read_bytes() == bad
        assert (
            f"{file.name} was damaged and is replaced by a good one; it is kept as {file.name}.damaged" in caplog.text
        )
        assert store.check(file, folder / file.name, fresh=True)


def test_what_cannot_be_replaced_stays(tmp_path: Path) -> None:
    file = replace(files.OCR_DICTIONARY, sources=())
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / file.name).write_bytes(b"no better")
    (tmp_path / file.name).write_bytes(b"bad")
    with pytest.raises(ModelError, match=r"(?s)the damaged one stays: .*what came from there is refused"):
        Store(tmp_path, mirror=str(tmp_path / "mirror")).fetch(file)
    assert (tmp_path / file.name).read_bytes() == b"bad"
    assert not list(tmp_path.glob("*.damaged"))


def test_another_chips_build_is_not_replaced_by_itself(sound: Path, tmp_path: Path) -> None:
    """It is whole; somebody put it there."""
    file = SCRFD_2_5G.hef["hailo8l"]
    shutil.copy(hef_path(sound, SCRFD_2_5G), tmp_path)
    with pytest.raises(ModelError, match="cannot run it") as refusal:
        Store(tmp_path, mirror=str(sound)).fetch(file)
    assert not isinstance(refusal.value, DamagedFileError)


def test_the_command_replaces_it_and_missing_counts_it(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _copied(sound, tmp_path / "m")
    _cut(folder / files.OCR_DICTIONARY.name)
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path)
    settings = Settings(models_dir=folder, models_mirror=str(sound))

    def run(*words: str) -> int:
        import argparse

        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.run(parser.parse_args([*words, "--engine", "hailo"]), settings)

    assert run("missing") == 0
    out = capsys.readouterr().out
    assert "ppocrv5_dict.txt (ocr), 0.1 MB: " in out
    assert out.endswith("1 to fetch: 0.1 MB\n")
    assert run("fetch") == 0
    assert "there (9 of 9)" in capsys.readouterr().out
    assert run("missing") == 0
    assert capsys.readouterr().out == ""


def test_all_backends_have_the_same_kinds_of_files() -> None:
    """What the tests above damage stands for every file of the catalogue."""
    kinds = {Path(file.name).suffix for b in CLIP_BACKENDS.values() for file in (*b.vocabulary, b.text_weights)}
    assert kinds == {".gz", ".model", ".json", ".npz"}
