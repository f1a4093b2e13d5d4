"""Where networks run: each engine with the arbiter of its device, set up by the engine's capabilities."""

from ml_target.config import Settings
from ml_target.engines import Engine
from ml_target.engines.select import choose_engines
from ml_target.figures.recorder import Recorder
from ml_target.runtime.assembly import Place
from ml_target.runtime.leaving import leave
from ml_target.scheduling.arbiter import Arbiter


def open_places(settings: Settings, recorder: Recorder | None = None) -> tuple[Place, Place]:
    """The worker's place, and the one of networks that run on the processor beside it, often the same.

    No device is touched yet. `recorder`: takes down what they do.

    Raises SettingsError without HailoRT's package, ModelError without ONNX Runtime.
    """
    engine, beside = choose_engines(settings)
    place = place_of(engine, recorder)
    return place, place if beside is engine else place_of(beside, recorder)


def place_of(engine: Engine, recorder: Recorder | None = None) -> Place:
    """The engine, with an arbiter that sends it bursts in the way that suits it."""
    can = engine.capabilities
    arbiter = Arbiter(
        can.lanes,
        own_lane=can.own_lane,
        patient=can.fuller_pays,
        ahead=can.queues_ahead,
        recover=engine.recover,
        leave=leave,
        observer=recorder.device(engine.name) if recorder else None,
    )
    return Place(engine, arbiter)
