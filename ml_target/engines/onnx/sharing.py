"""Inferences that run at the same time share the cores, instead of competing for them.

Two threads finish an inference sooner than one, but take a tenth to a sixth more processor time: each step ends when
the slower thread does, and ONNX Runtime's threads spin until then. With a core for each that is worth it. Where
more threads would run than there are cores, an inference is handed to a thread of its session's own pool, which
is then not there to help: the same session, and the same weights, run with one thread fewer for each inference.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ml_target.engines.onnx.denormals import flushed
from ml_target.tensors import Array


class Cores:
    """What runs on how many `cores`. `threads`: of an inference that has them for itself."""

    def __init__(self, threads: int, cores: int) -> None:
        self._threads = threads
        self._cores = cores
        self._lock = threading.Lock()
        self._running: Counter[Any] = Counter()
        self._lent: set[Any] = set()

    def run(self, session: Any, values: Mapping[str, Array], options: Any = None) -> list[Array]:
        """Every output of the session. Blocks. Raises whatever ONNX Runtime does, RuntimeError where that is words."""
        with self._lock:
            self._running[session] += 1
            lent = session not in self._lent and self._crowded()
            if lent:
                self._lent.add(session)
        try:
            if lent:
                return _handed_over(session, values, options)
            with flushed():
                outputs: list[Array] = session.run(None, values, options)
            return outputs
        finally:
            with self._lock:
                self._running[session] -= 1
                if not self._running[session]:
                    del self._running[session]
                if lent:
                    self._lent.remove(session)

    def _crowded(self) -> bool:
        """Whether several inferences, each with its session's threads, are more than the cores."""
        callers, helpers = self._running.total() - len(self._lent), len(self._running) * (self._threads - 1)
        return self._threads > 1 and self._running.total() > 1 and callers + helpers > self._cores


def _handed_over(session: Any, values: Mapping[str, Array], options: Any) -> list[Array]:
    """The outputs, computed by a thread of the session's pool, where denormals are flushed by the session's option."""
    ended = threading.Event()
    answers: list[tuple[list[Array], str]] = []

    def keep(outputs: list[Array], _: Any, error: str) -> None:
        answers.append((outputs, error))
        ended.set()

    session.run_async(None, values, keep, None, options)
    ended.wait()
    [(outputs, error)] = answers
    if error:
        raise RuntimeError(error)
    return outputs
