"""Faults and counts of a rig in another process, over a Unix socket: one line of JSON each way."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

from hailo_sim.rig import Rig


def serve(rig: Rig, path: Path) -> None:
    """Answers at `path` until the process ends."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threading.Thread(target=_accept, args=(rig, listener), name="sim-remote", daemon=True).start()


def _accept(rig: Rig, listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as stream:
            stream.write(json.dumps(_answer(rig, json.loads(stream.readline()))) + "\n")


def _answer(rig: Rig, question: dict[str, Any]) -> Any:
    """`fault`: a method of Faults with `args` and `kwargs`; without one, the counts."""
    if "fault" in question:
        try:
            getattr(rig.faults, question["fault"])(*question.get("args", ()), **question.get("kwargs", {}))
        except Exception as error:
            return {"error": repr(error)}
        return {}
    with rig.lock:
        record = rig.record
        return {
            "now": rig.clock.now(),
            "busy": dict(record.busy),
            "most_in_flight": record.most_in_flight,
            "switches": record.switches,
            "opened": record.opened,
            "released": record.released,
            "controls": record.controls,
            "crashes": record.crashes,
            "models": {
                name: {field: getattr(counts, field) for field in counts.__dataclass_fields__ if field != "bursts"}
                | {"bursts": {str(size): number for size, number in counts.bursts.items()}}
                for name, counts in record.models.items()
            },
        }


class RemoteRig:
    """The rig of another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fault(self, name: str, *args: object, **kwargs: object) -> None:
        """`fault("kill", "scrfd_2.5g")` is `rig.faults.kill("scrfd_2.5g")` over there."""
        answer = self._ask({"fault": name, "args": args, "kwargs": kwargs})
        if "error" in answer:
            raise ValueError(answer["error"])

    def counts(self) -> dict[str, Any]:
        """What `Record` holds, as plain data, and the time of the rig's clock."""
        return self._ask({})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(question) + "\n")
                stream.flush()
                answer: dict[str, Any] = json.loads(stream.readline())
        return answer
