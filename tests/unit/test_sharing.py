"""How inferences share the cores: alone with all threads of a session, beside others on one of its pool."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_target.catalogue.networks import STAND_IN_EMBEDDER
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.engines.onnx.sharing import Cores
from ml_target.errors import EngineFault
from ml_target.tensors import Array


class Session:
    """Notes how it is run, and answers once it may. `error`: what its pool's thread reports instead."""

    def __init__(self, error: str = "") -> None:
        self.calls: list[str] = []
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self._error = error

    def run(self, names: Any, values: Any, options: Any) -> list[Array]:
        self._do("run")
        return [values["x"]]

    def run_async(self, names: Any, values: Any, callback: Callable[..., None], data: Any, options: Any) -> None:
        def work() -> None:
            self._do("lent")
            callback([] if self._error else [values["x"]], data, self._error)

        threading.Thread(target=work).start()

    def _do(self, how: str) -> None:
        self.calls.append(how)
        self.begun.release()
        assert self.may_end.wait(30)


@contextmanager
def running(cores: Cores, *sessions: Session) -> Iterator[list[Future[list[Array]]]]:
    """So many inferences at a time, each begun before the next one comes."""
    for session in sessions:
        session.may_end.clear()
    with ThreadPoolExecutor(len(sessions)) as pool:
        started = []
        for number, session in enumerate(sessions):
            started.append(pool.submit(cores.run, session, {"x": np.full(1, number)}))
            assert session.begun.acquire(timeout=30)
        try:
            yield started
        finally:
            for session in sessions:
                session.may_end.set()


def test_one_alone_has_all_threads_and_the_next_one_takes_one_of_them() -> None:
    cores, session = Cores(2, 2), Session()
    with running(cores, session, session, session) as started:
        assert session.calls == ["run", "lent", "run"], "the pool's only thread is lent once"
    assert [int(each.result()[0][0]) for each in started] == [0, 1, 2]
    with running(cores, session):
        assert session.calls[3:] == ["run"], "it is alone again"


def test_two_networks_count_together() -> None:
    first, second = Session(), Session()
    with running(Cores(2, 2), first, second):
        assert (first.calls, second.calls) == (["run"], ["lent"])


@pytest.mark.parametrize(
    ("threads", "cores", "calls"),
    [
        (1, 1, ["run", "run"]),  # there is no pool
        (1, 2, ["run", "run"]),
        (2, 4, ["run", "run"]),
        (4, 4, ["run", "lent"]),
        (4, 8, ["run", "run"]),
        (4, 2, ["run", "lent"]),
    ],
)
def test_cores_to_spare_are_used(threads: int, cores: int, calls: list[str]) -> None:
    session = Session()
    with running(Cores(threads, cores), session, session):
        assert session.calls == calls


def test_a_failure_in_a_lent_thread_is_an_error_and_gives_the_thread_back() -> None:
    cores, alone, failing = Cores(2, 2), Session(), Session("no such shape")
    with running(cores, alone, failing, failing) as started:
        assert failing.calls == ["lent", "run"]
    with pytest.raises(RuntimeError, match="no such shape"):
        started[1].result()
    assert started[2].exception() is None
    with running(cores, alone, failing):
        assert failing.calls == ["lent", "run", "lent"]


def test_answers_are_the_same_to_the_bit_however_it_runs(face_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four at a time of a real network, twice as many threads as cores."""
    monkeypatch.setattr("ml_target.engines.onnx.engine.available_cores", lambda: 1)
    network = OnnxEngine(threads=2).open(face_models / "face_embedder_112_512.onnx", STAND_IN_EMBEDDER)
    frames = np.random.default_rng(1).integers(0, 256, (8, 112, 112, 3), np.uint8)
    expected = [network.run([frame])[0]["embedding"].real() for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda frame: network.run([frame])[0]["embedding"].real(), frames))
        np.testing.assert_array_equal(together, expected)
        wrong = [pool.submit(network.run, [np.zeros((8, 8, 3), np.uint8)]) for _ in range(4)]
    for each in wrong:
        with pytest.raises(EngineFault, match=r"failed on a frame of \(8, 8, 3\)"):
            each.result()
