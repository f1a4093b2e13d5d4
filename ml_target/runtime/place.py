"""Where networks run: each engine with the arbiter of its device, set up by the engine's capabilities."""

from ml_target.config import Settings
from ml_target.engines import Engine
from ml_target.engines.select import choose_engines
from ml_target.runtime.assembly import Place
from ml_target.runtime.leaving import leave
from ml_target.scheduling.arbiter import Arbiter


def open_places(settings: Settings) -> tuple[Place, Place]:
    """Where pictures and where search queries run, often the same. No device is touched yet.

    Raises SettingsError without HailoRT's package, ModelError without ONNX Runtime.
    """
    pictures, queries = choose_engines(settings)
    place = place_of(pictures)
    return place, place if queries is pictures else place_of(queries)


def place_of(engine: Engine) -> Place:
    """The engine, with an arbiter that sends it bursts in the way that suits it."""
    can = engine.capabilities
    arbiter = Arbiter(
        can.lanes,
        own_lane=can.own_lane,
        patient=can.fuller_pays,
        ahead=can.queues_ahead,
        recover=engine.recover,
        leave=leave,
    )
    return Place(engine, arbiter)
