"""Networks that answer what they have answered before: a picture that several tests look at is computed once."""

from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import Any

from ml_target.engines import LoadedNetwork
from ml_target.tensors import Array, Outputs


def _key(values: Array) -> Hashable:
    return values.shape, values.dtype.str, blake2b(values.tobytes()).digest()


class Remembered:
    """A loaded network that runs each frame once."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        self._loaded = loaded
        self._answers: dict[Hashable, Outputs] = {}
        self.intake, self.max_batch, self.roles = loaded.intake, loaded.max_batch, loaded.roles

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        keys = [_key(frame) for frame in frames]
        new = {key: frame for key, frame in zip(keys, frames, strict=True) if key not in self._answers}
        if new:
            self._answers |= zip(new, self._loaded.run(list(new.values())), strict=True)
        return [dict(self._answers[key]) for key in keys]

    def close(self) -> None:
        self._loaded.close()


class RememberedSession:
    """The same for a session of ONNX Runtime, as InsightFace uses it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._answers: dict[Hashable, list[Array]] = {}

    def run(self, names: Sequence[str], feed: dict[str, Array]) -> list[Array]:
        key = (*names, *((name, _key(values)) for name, values in feed.items()))
        if key not in self._answers:
            self._answers[key] = self._session.run(names, feed)
        return [values.copy() for values in self._answers[key]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)
