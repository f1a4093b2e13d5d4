"""Does the container answer, and does it answer right?"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from ml_target.setup.asking import CONFINED
from ml_target.setup.container import NAME
from ml_target.setup.facts import Facts
from ml_target.setup.options import Talk
from ml_target.setup.steps import Err, Ping, Plan, Refusal, Run, quoted, say, shown

PATIENCE = {"SETUP_READY_S": 300.0, "SETUP_PAUSE_S": 1.0, "SETUP_SAY_S": 5.0}
"""How long to wait for the worker, and the time between two looks and between two words about it."""

STATE = ("docker", "inspect", "--type", "container", "--format", "{{.State.Status}} {{.RestartCount}}", NAME)


@dataclass(frozen=True, slots=True)
class Clock:
    """The time; another one in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def patience(facts: Facts) -> tuple[float, ...]:
    """Those of `PATIENCE`, in its order, as they were given. Raises Refusal."""
    for name in PATIENCE:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?|", facts.given(name)):
            raise Refusal(
                f"{name}={facts.given(name)} is not a number of seconds.", f"Set it as in {name}=900, or leave it out."
            )
    return tuple(float(facts.given(name) or usual) for name, usual in PATIENCE.items())


def wait_until_ready(talk: Talk, port: int, doctor: str, clock: Clock) -> Plan[None]:
    """Raises Refusal where the worker ends, or does not answer in time. `doctor`: the line that says more."""
    if talk.options.dry:
        yield say(f"(then it waits until http://127.0.0.1:{port}/ping answers)")
        return
    ready_s, pause_s, say_s = patience(talk.facts)
    since = said = clock.now()
    at_first = ""
    while (yield Ping(port)).code:
        status, _, restarts = (yield Run(STATE)).text.strip().partition(" ")
        at_first = at_first or restarts
        if status != "running" or restarts != at_first:
            yield from _died(doctor)
        if clock.now() - since >= ready_s:
            yield from last_words()
            raise Refusal(
                f"the worker runs, but does not answer on port {port} within {ready_s:g} s; its last lines stand "
                "above.",
                f"If they say that it is ready, something between keeps the port: docker port {NAME}, and the "
                "firewall's rules.",
                "Otherwise do what they say, or give it more time: SETUP_READY_S=900 ./setup.sh",
                doctor,
            )
        if clock.now() - said >= say_s:
            said = clock.now()
            yield say(f"not ready yet, {said - since:.0f} s")
        clock.sleep(pause_s)
    yield say(f"ready, /ping answers on port {port}")


def _died(doctor: str) -> Plan[None]:
    """It would be started over and over again."""
    yield Run(("docker", "stop", NAME), "merged")
    yield from last_words()
    raise Refusal(
        "the worker ended by itself; its last lines are above.",
        "Do what they say, then run this again.",
        f"The container is stopped and kept for you to look at: docker logs {NAME}",
        doctor,
    )


def last_words() -> Plan[None]:
    """What the container has logged, on standard error."""
    yield Err(f"\n--- the last lines of docker logs {NAME}")
    yield Run(("docker", "logs", "--tail", "20", NAME), "complaint")


def test(talk: Talk, doctor: str) -> Plan[None]:
    """tests/test.sh, inside the container. Raises Refusal where it finds something wrong."""
    call = ["docker", "exec", NAME, "bash", "/app/tests/test.sh"]
    if not talk.options.missing_ok:
        call.append("--expect-all")
    call.append("/app/tests/test.jpg")
    if talk.options.dry:
        yield shown(call)
    elif (yield Run(tuple(call), "shown")).code:
        yield from last_words()
        raise Refusal(
            "the worker runs, but tests/test.sh found something wrong.",
            "Its lines that begin with 'not ok' are above, and the worker's own after them.",
            doctor,
            "Until this passes, do not let Immich use it: what it answers would be stored.",
        )


def doctor_line(image: str, card: list[str]) -> str:
    """The line that says more of a worker that does not serve. `card`: of docker run; none on the processor."""
    confined = " ".join(CONFINED)
    if not card:
        return f"What it has: docker run --rm {confined} --entrypoint python3 {image} -m ml_target models"
    return (
        f"What the card says: docker run --rm {' '.join(map(quoted, card))} {confined} --entrypoint python3 {image} "
        "-m ml_target doctor --open"
    )
