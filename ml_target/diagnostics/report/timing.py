"""`python3 -m ml_target.diagnostics.report.timing`: how long each network takes, on the card and on the processor.

The report runs it in a process of its own. It prints each network's line as soon as it is known, so that a network that
hangs does not hide those before it. Frames are random; it measures the round trip from host to network and back, for
one frame and for a full burst.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from ml_target.catalogue.needs import chosen, settled
from ml_target.catalogue.types import DEFAULT_CHIP, Network, PictureInput
from ml_target.config import Settings, choose_engine
from ml_target.diagnostics.progress import TIMING, tell
from ml_target.diagnostics.report.times import BURST, Times
from ml_target.engines import Engine, LoadedNetwork
from ml_target.engines.select import REFERENCE, choose_engines, processor
from ml_target.errors import WorkerError
from ml_target.runtime.assembly import Place
from ml_target.runtime.place import place_of
from ml_target.store import Store
from ml_target.store.command import open_store
from ml_target.tensors import Array

NETWORK_S = 3.0
"""Time for the calls of one network, half of it for single frames and half for bursts."""

MOST = 30
"""The most calls of one kind: more would not change the median."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every network that is there was timed, 1 when one failed, 2 for a bad setting."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=NETWORK_S, help=f"for each network (default: {NETWORK_S:g})")
    args = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 2
    names = dict.fromkeys((choose_engine(settings.engine), REFERENCE))
    failed = [_time_engine(settings, name, args.seconds) for name in names]
    return 1 if any(failed) else 0


def _time_engine(settings: Settings, name: str, seconds: float) -> bool:
    """Prints the lines of one engine; True when something failed."""
    failed = False
    place: Place | None = None
    try:
        place = place_of(processor(settings, 1) if name == REFERENCE else choose_engines(settings)[0])
        place.engine.start()
        store = open_store(settings)
        for network in _networks(settings, store, place.engine):
            if not place.engine.files(network):  # it runs elsewhere
                continue
            path = next(filter(None, map(store.find, place.engine.files(network))), None)
            if path is None:
                _line(Times(network.name, name))
                continue
            tell(TIMING, f"{network.name} on {name}")
            try:
                _line(_time_network(place.engine, network, path, seconds))
            except WorkerError as error:
                failed = True
                _line(Times(network.name, name, failed=str(error)))
    except WorkerError as error:
        failed = True
        _line(Times("the engine", name, failed=str(error)))
    finally:
        if place is not None:
            place.arbiter.close()
            place.engine.close()
    return failed


def _line(times: Times) -> None:
    print(times.line(), flush=True)


def _networks(settings: Settings, store: Store, engine: Engine) -> Iterator[Network]:
    """The networks that the settings ask for; the stand-in if the worker would use it."""
    for network in chosen(settled(settings, choose_engine(settings.engine), DEFAULT_CHIP, store.find)):
        stand_in = network.stand_in
        if stand_in is None or settings.face_recognizer:
            yield network
            continue
        there, instead = (any(map(store.find, engine.files(each))) for each in (network, stand_in))
        yield stand_in if instead and not there else network


def _time_network(engine: Engine, network: Network, path: Path, seconds: float) -> Times:
    started = time.perf_counter()
    loaded = engine.open(path, network)
    load = time.perf_counter() - started
    frame = _frame(loaded, network)
    alone = _call_ms(loaded, [frame], seconds / 2)
    size = max(1, min(BURST, loaded.max_batch, int(seconds * 1000 / alone)))  # so that a slow one stays within its time
    burst = _call_ms(loaded, [frame] * size, seconds / 2) / size
    return Times(network.name, engine.name, load, alone, burst, size)


def _frame(loaded: LoadedNetwork, network: Network) -> Array:
    """A random picture, or an empty text, of the file's size or the catalogue's."""
    spec = network.input
    if not isinstance(spec, PictureInput):
        return np.zeros([spec.tokens if side is None else side for side in loaded.intake.shape], loaded.intake.dtype)
    wanted = (spec.height, spec.width, 3)
    shape = [given or side for given, side in zip(loaded.intake.shape, wanted, strict=True)]
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _call_ms(loaded: LoadedNetwork, frames: list[Array], seconds: float) -> float:
    """The median call in milliseconds, without the first."""
    taken: list[float] = []
    end = time.monotonic() + seconds
    while len(taken) < 2 or (time.monotonic() < end and len(taken) < MOST):
        started = time.perf_counter()
        loaded.run(frames)
        taken.append((time.perf_counter() - started) * 1000)
    return median(taken[1:])


if __name__ == "__main__":
    sys.exit(main())
