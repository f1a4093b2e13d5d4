"""Right files of every task, to be changed; and the selfcheck on the simulated card."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hailo_sim import Rig, networks, simulated
from hailo_sim.networks import forget_sessions
from remembered import Sessions
from selfcheck_models import write_models
from selfcheck_run import Check, Run

from ml_target.__main__ import main
from ml_target.diagnostics.checks.samples import Samples
from ml_target.engines.onnx.engine import OnnxEngine


@pytest.fixture(scope="session")
def real_models(face_models: Path, wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all files of the default settings, right ones."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, face_models, wheel_models.resolve())
    yield folder
    forget_sessions()


@pytest.fixture(scope="session")
def small_models(
    small_face_models: Path, wheel_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The same, faces by the small stand-ins."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, small_face_models, wheel_models.resolve())
    yield folder
    forget_sessions()


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, to be changed: verdicts on real networks are slow tests, all else has the small ones."""
    slow = request.node.get_closest_marker("slow") is not None
    models: Path = request.getfixturevalue("real_models" if slow else "small_models")
    copied = tmp_path / "models"
    copied.mkdir()
    for file in models.iterdir():
        if file.name not in ("checksums.json", "text_layouts.json"):
            (copied / file.name).symlink_to(file.resolve())
    return copied


@pytest.fixture(scope="session")
def sessions() -> Sessions:
    """All that was opened in the tests of this folder: they look at the same pictures with mostly the same files."""
    return Sessions()


@pytest.fixture(autouse=True)
def computed_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file has answered to a frame, on the card or on the processor, it need not compute again."""
    on_card, on_processor = networks.session, OnnxEngine._session
    monkeypatch.setattr(networks, "session", lambda model: sessions.open("card", model, lambda: on_card(model)))
    monkeypatch.setattr(
        OnnxEngine,
        "_session",
        lambda engine, file: sessions.open("cpu", file.read_bytes(), lambda: on_processor(engine, file)),
    )


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photos with faces instead of four: enough to see that something is wrong."""
    boards = Samples.boards
    monkeypatch.setattr(Samples, "boards", lambda self: boards(self)[:2])


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and no spare folder with models."""
    for name in (
        "CLIP_BACKEND",
        "CLIP_TEXT_ENGINE",
        "FACE_RECOGNIZER",
        "FACE_DETECTOR",
        "FACE_SEARCH",
        "MODELS_MIRROR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")


@pytest.fixture
def check(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command in this process."""

    def run(*words: str, rig: Rig | None = None, **settings: str) -> Run:
        given = {"ENGINE": "hailo", "MODELS_DIR": str(folder), **settings}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        card = simulated(rig or Rig(clock="virtual")) if given["ENGINE"] == "hailo" else nullcontext()
        with card as used:
            code = main(["selfcheck", *words])
        assert not isinstance(used, Rig) or not (used.held or used.record.crashes)
        return Run(code, *capsys.readouterr())

    return run
