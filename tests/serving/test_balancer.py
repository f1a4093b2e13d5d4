"""Several workers behind HAProxy, with the configuration that the documentation gives: who gets what, and what is lost.

Real worker processes with light networks, the real HAProxy, real connections. The counts are printed at the end.
"""

import io
import json
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import balance_table
import httpx
import numpy as np
import pytest
from balancer import (
    NEVER_REPEATED,
    PLAIN,
    Balancer,
    Clients,
    Passage,
    Reply,
    WorkerProcess,
    balancing,
    find_haproxy,
    ping,
    send,
)
from hailo_sim.remote import RemoteRig
from hailo_worker import CLIP, QUERY, Ask, mixed, models_folder, wait_until
from light_towers import light_models
from PIL import Image
from project import PROJECT

pytestmark = pytest.mark.slow

Pair = dict[str, WorkerProcess]
SENT_ON = "sent to another worker: answered"


@pytest.fixture(scope="module")
def haproxy() -> str:
    return find_haproxy()


@pytest.fixture(scope="module")
def models(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return light_models(tmp_path_factory.mktemp("light") / "models", wheel_models)


@contextmanager
def started(pair: Pair) -> Iterator[Pair]:
    """The workers, ready; killed at the end."""
    try:
        yield ready(pair)
    finally:
        for worker in pair.values():
            worker.kill()


def light(models: Path) -> dict[str, str]:
    """Settings of a worker with little to do, on one core."""
    return {"MODELS_DIR": str(models), "CPU_THREADS": "1", "HOST_THREADS": "1"}


@pytest.fixture(scope="module")
def workers(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two for all tests: `pair` and `second` start again what a test before has ended."""
    folder = tmp_path_factory.mktemp("workers")
    made = {name: WorkerProcess(folder / name, light(models)) for name in ("first", "second")}
    try:
        yield made
    finally:
        for worker in made.values():
            worker.kill()


@pytest.fixture
def pair(workers: Pair) -> Pair:
    return ready(workers)


@pytest.fixture
def second(workers: Pair) -> WorkerProcess:
    return ready({"second": workers["second"]})["second"]


def ready(workers: Pair) -> Pair:
    for worker in workers.values():
        if not worker.runs:
            worker.start()
    for worker in workers.values():
        worker.wait_ready()
    return workers


def preview(number: int) -> bytes:
    """A JPEG of the size that Immich sends, in pixels and in bytes."""
    rng = np.random.default_rng(number)
    blocks = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((1920, 1440), Image.Resampling.BICUBIC)
    pixels = np.asarray(blocks).astype(np.int16) + rng.integers(-8, 9, (1440, 1920, 3), np.int16)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


@pytest.fixture(scope="module")
def asks() -> list[Ask]:
    made = [Ask(f"picture {number}", {"clip": CLIP}, preview(number)) for number in range(3)]
    assert all(200_000 < len(ask.content) < 1_000_000 for ask in made)
    return [*made, Ask("query 0", {"clip": QUERY}, "a dog on a beach")]


def alone(worker: WorkerProcess, asks: list[Ask]) -> dict[str, dict[str, Any]]:
    """Every request's answer, straight from a worker."""
    with httpx.Client(base_url=f"http://{worker.address}", timeout=60, trust_env=False, verify=PLAIN) as client:
        return {ask.name: ask.send(client).json() for ask in asks}


def outcome(reply: Reply, passage: Passage) -> str:
    """What became of a request."""
    if reply.status == 200:
        return SENT_ON if passage.again else f"answered by the {passage.server} worker"
    if not passage.reached:
        return "lost before it had reached any worker"
    assert passage.server == "first", "the second worker lives"
    if passage.state.startswith("SD"):
        return "its answer had begun: cut off, lost"
    return "inside the first when it went: lost"


def logged(balancer: Balancer, clients: Clients) -> dict[str, Passage]:
    """What HAProxy says of every reply; it says so after the client has it."""
    wait_until(lambda: {reply.name for reply in clients.replies} <= balancer.passages().keys(), 10)
    return balancer.passages()


def then_rest(clients: Clients, act: Callable[[], None]) -> Callable[[], None]:
    """Does it in the middle of the load; further requests come slower while HAProxy takes its time to see it."""

    def both() -> None:
        act()
        clients.rest = 0.3

    return both


def under_load(balancer: Balancer, pair: Pair, asks: list[Ask], event: str, act: Callable[[], None]) -> Counter[str]:
    """Does it to the first worker while eight clients ask; counts what became of every request."""
    expected = alone(pair["second"], asks)
    with Clients(balancer.address, asks, expected) as clients:
        clients.wait_for(40)
        gone = time.monotonic()
        balancer.wait_for_change("first", "DOWN", then_rest(clients, act))
        clients.rest = 0.0
        clients.wait_for(40)
    passages = logged(balancer, clients)
    tally = Counter(outcome(reply, passages[reply.name]) for reply in clients.replies)
    repeated, sent_on = (int(balancer.counters("first")[name]) for name in ("wretr", "wredis"))
    assert tally.pop(SENT_ON, 0) == sent_on, "HAProxy counts the same"
    tally["inside the first when it went, sent to the second: answered"] = repeated
    tally["refused by the first, sent to the second: answered"] = sent_on - repeated
    balance_table.record(event, tally)
    assert all(reply.right for reply in clients.replies if reply.status == 200)
    assert all(reply.status in (0, 200, 502) for reply in clients.replies)
    assert not tally["lost before it had reached any worker"]
    assert not [r for r in clients.replies if r.status != 200 and r.sent > gone + 0.5], "nothing new is lost"
    assert max(reply.seconds for reply in clients.replies) < 60
    return tally


# ------------------------------------------------------------ a worker goes away


def test_a_killed_worker_loses_nothing(haproxy: str, pair: Pair, asks: list[Ask], tmp_path: Path) -> None:
    """But an answer of which a part is out already. Started again, it gets its share again."""
    with balancing(haproxy, tmp_path, pair) as balancer:
        tally = under_load(balancer, pair, asks, "killed", pair["first"].kill)
        assert min(tally[f"answered by the {name} worker"] for name in pair) >= 10, "both had their share"
        assert tally["inside the first when it went, sent to the second: answered"] > 0
        assert not tally["inside the first when it went: lost"]
        balancer.wait_for_change("first", "UP", pair["first"].start)
        with Clients(balancer.address, asks, alone(pair["second"], asks), label="again") as clients:
            clients.wait_for(30)
        served = Counter(p.server for name, p in balancer.passages().items() if name.startswith("again"))
        assert min(served["first"], served["second"]) >= 8


def test_without_repeating_only_what_was_inside_is_lost(
    haproxy: str, pair: Pair, asks: list[Ask], tmp_path: Path
) -> None:
    """HAProxy's default, for comparison: the tally tells the two apart."""
    with balancing(haproxy, tmp_path, pair, NEVER_REPEATED) as balancer:
        tally = under_load(balancer, pair, asks, "killed, nothing is repeated", pair["first"].kill)
    assert 0 < tally["inside the first when it went: lost"] <= 8
    assert not tally["inside the first when it went, sent to the second: answered"]


def test_a_stopped_worker_ends_in_good_order(haproxy: str, pair: Pair, asks: list[Ask], tmp_path: Path) -> None:
    """What an update does: it answers what it has, and gets nothing new."""
    with balancing(haproxy, tmp_path, pair) as balancer:
        tally = under_load(balancer, pair, asks, "stopped (SIGTERM)", pair["first"].stop)
    assert not tally["inside the first when it went: lost"]
    assert not tally["its answer had begun: cut off, lost"]


@contextmanager
def other_host(name: str) -> Iterator[tuple[str, tuple[str, ...], Callable[[], None]]]:
    """Another host, as far as the network is concerned: its address, how to run there, how to pull its plug."""
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if ip is None:
        pytest.skip("iproute2 is not installed here")

    def run(*words: str) -> int:
        return subprocess.run([ip, *words], capture_output=True, check=False).returncode

    if run("netns", "add", name):
        pytest.skip(f"no network namespace: this user may not, or another run has it (ip netns delete {name})")
    inside = (ip, "netns", "exec", name)
    try:
        here, there = f"{name}-0", f"{name}-1"
        for words in (
            ["link", "add", here, "type", "veth", "peer", "name", there, "netns", name],
            ["addr", "add", "198.51.100.1/30", "dev", here],
            ["link", "set", here, "up"],
            ["-n", name, "addr", "add", "198.51.100.2/30", "dev", there],
            ["-n", name, "link", "set", there, "up"],
        ):
            if run(*words):
                pytest.skip(f"no virtual network here: ip {' '.join(words)} fails")

        def pull_the_plug() -> None:
            assert run("-n", name, "link", "set", there, "down") == 0

        yield "198.51.100.2", inside, pull_the_plug
    finally:
        run("link", "delete", f"{name}-0")
        run("netns", "delete", name)


def test_a_vanished_host(haproxy: str, models: Path, second: WorkerProcess, asks: list[Ask], tmp_path: Path) -> None:
    """Nothing says goodbye: no refusal, no reset, only silence. What was inside is sent on after 20 s."""
    with other_host("immich-ml") as (address, inside, pull_the_plug):
        first = {"first": WorkerProcess(tmp_path / "first", light(models), address, inside)}
        pair = {**first, "second": second}
        with started(first), balancing(haproxy, tmp_path, pair) as balancer:
            tally = under_load(balancer, pair, asks, "off the network", pull_the_plug)
    assert not tally["inside the first when it went: lost"]


# -------------------------------------------------------------- workers that wait


def test_with_no_worker_left_requests_wait_for_one(haproxy: str, pair: Pair, asks: list[Ask], tmp_path: Path) -> None:
    """/ping says how things stand, so that Immich takes another URL if it has one; if not, nothing is lost."""
    ask = asks[0]
    expected = alone(pair["first"], asks)[ask.name]
    with balancing(haproxy, tmp_path, pair) as balancer:
        for worker in pair.values():
            worker.kill()
        wait_until(lambda: ping(balancer.address) == 503)
        replies: list[Reply] = []
        waiting = threading.Thread(target=lambda: replies.append(send(balancer.address, ask, "early", expected)))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive(), "it is neither refused nor answered"
        pair["second"].start()
        waiting.join(60)
        assert [reply.right for reply in replies] == [True]
        wait_until(lambda: ping(balancer.address) == 200)


def test_a_worker_that_gets_its_card_back_keeps_its_requests(
    haproxy: str, wheel_models: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its /ping says 503, so it gets nothing new; what it has, it answers when the card is back."""
    folder = models_folder(wheel_models, tmp_path_factory.getbasetemp())
    site = PROJECT / "tests" / "support" / "hailo_sim" / "site"
    settings = {"ENGINE": "hailo", "MODELS_DIR": str(folder), "HAILO_SIM_CLOCK": "4", "PYTHONPATH": f"{site}:{PROJECT}"}
    made = {
        name: WorkerProcess(tmp_path / name, {**settings, "HAILO_SIM_CONTROL": str(tmp_path / f"{name}.rig")})
        for name in ("first", "second")
    }
    asks = list(mixed(2))
    with started(made) as pair, balancing(haproxy, tmp_path, pair) as balancer:
        expected = alone(pair["second"], asks)
        card = RemoteRig(tmp_path / "first.rig")
        with Clients(balancer.address, asks, expected) as clients:
            clients.wait_for(40)
            card.fault("occupy")
            balancer.wait_for_change("first", "DOWN", then_rest(clients, lambda: card.fault("abort_device")))
            down = time.monotonic()
            clients.wait_for(20)
            back = time.monotonic()
            balancer.wait_for_change("first", "UP", then_rest(clients, lambda: card.fault("occupy", False)))
            clients.rest = 0.0
            clients.wait_for(20)
        passages = logged(balancer, clients)
    assert {reply.status for reply in clients.replies} == {200}
    assert all(reply.right for reply in clients.replies)
    assert not any(passages[reply.name].again for reply in clients.replies), "nothing was repeated"
    held = [r for r in clients.replies if r.sent < down and r.sent + r.seconds > back]
    assert held, "some requests were inside all the while"
    assert all(passages[reply.name].server == "first" for reply in held)
    meanwhile = [r for r in clients.replies if down < r.sent and r.sent + r.seconds < back]
    assert meanwhile, "the second worker goes on"
    assert {passages[reply.name].server for reply in meanwhile} == {"second"}


# ------------------------------------------------------------- what passes through


def test_uploads_of_the_largest_size_pass(haproxy: str, pair: Pair, tmp_path: Path) -> None:
    """The worker has the say, not the balancer: it looks at 127 MiB, and refuses what is above its limit."""
    with balancing(haproxy, tmp_path, pair) as balancer:
        for size, status, words in ((127, 400, "not a picture"), (129, 413, "exceeds 128 MiB")):
            response = httpx.post(
                f"http://{balancer.address}/predict?n={size}",
                data={"entries": json.dumps({"clip": CLIP})},
                files={"image": ("blob", bytes(size * 2**20))},
                timeout=60,
                trust_env=False,
                verify=PLAIN,
            )
            assert response.status_code == status
            assert words in response.json()["detail"]
        assert {passage.again for passage in balancer.passages().values()} == {0}


def test_the_worker_hears_that_the_client_has_gone(haproxy: str, pair: Pair, asks: list[Ask], tmp_path: Path) -> None:
    def heard() -> int:
        return sum(worker.log().count("outcome=499") for worker in pair.values())

    with balancing(haproxy, tmp_path, pair) as balancer:
        with Clients(balancer.address, asks[:3], alone(pair["second"], asks), 12) as clients:
            clients.wait_for(12)
            before = heard()
            with (
                httpx.Client(
                    base_url=f"http://{balancer.address}", timeout=0.05, trust_env=False, verify=PLAIN
                ) as hasty,
                pytest.raises(httpx.ReadTimeout),
            ):
                asks[0].send(hasty)
            wait_until(lambda: heard() > before)
        assert {reply.status for reply in clients.replies} == {200}


def test_a_page_shows_the_workers(haproxy: str, pair: Pair, tmp_path: Path) -> None:
    with balancing(haproxy, tmp_path, pair) as balancer:
        assert all(balancer.counters(name)["status"].startswith("UP") for name in pair)
