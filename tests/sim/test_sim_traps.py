"""The traps of submitting frames, row by row of docs/hailort.md (§2.3 to §2.5)."""

import gc
import importlib
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hailo_sim import NativeCrash, Rig, simulated
from hailo_sim.build import tiny
from hailo_sim.driving import Driven, Outcome, open_device, row, status_of


@pytest.fixture
def driven(device: Any) -> Iterator[Driven]:
    made = Driven(device, tiny(contexts=2), 4)
    yield made
    made.close()


def refused(driven: Driven, frames: list[Any]) -> tuple[int, Outcome]:
    """The status of a submission that must fail, and what became of its callback."""
    outcome = Outcome(frames)
    with pytest.raises(importlib.import_module("hailo_platform").HailoRTException) as caught:
        driven.model.run_async(frames, outcome)
    return status_of(caught.value), outcome


def assert_dead(driven: Driven, status: int = 63) -> None:
    """Nothing is taken any more until the model is configured anew."""
    assert refused(driven, driven.frames())[0] == status
    driven.close()
    driven.model = driven.infer.configure()
    assert driven.submit().result() is None


# --------------------------------------------------------------- 2.4 bindings


@row("2.4 set_buffer checks")
def test_set_buffer(driven: Driven, hailo: ModuleType) -> None:
    stream = driven.model.create_bindings().input()
    with pytest.raises(hailo.HailoRTException, match=r"^Buffer must be C_CONTIGUOUS$"):
        stream.set_buffer(np.zeros((2, 2, 6), np.uint8)[:, :, ::2])
    with pytest.raises(ValueError, match=r"^array is not writeable$"):
        stream.set_buffer(np.frombuffer(bytes(12), np.uint8))
    with pytest.raises(AttributeError):
        stream.set_buffer(bytes(12))
    wrong = np.zeros(99, np.float64)
    stream.set_buffer(wrong)  # neither type nor shape is looked at
    assert stream.get_buffer() is wrong
    assert stream.get_buffer(None) is wrong


@row("2.4 size alone counts")
def test_size_alone(driven: Driven) -> None:
    bindings = driven.frame()
    bindings.input().set_buffer(np.zeros(3, np.float32))  # 12 bytes, as 2 x 2 x 3 uint8
    assert driven.submit([bindings]).result() is None


@row("2.4 streams are cached")
def test_streams_cached(driven: Driven) -> None:
    bindings = driven.frame()
    assert bindings.input() is bindings.input("tiny/input_layer1")
    assert bindings.output("tiny/fc1") is bindings.output()


@row("2.4 output missing: refused, and the model lives")
def test_output_missing(driven: Driven) -> None:
    bindings = driven.model.create_bindings({"tiny/input_layer1": np.zeros((2, 2, 3), np.uint8)})
    assert refused(driven, [bindings])[0] == 6
    assert driven.submit().result() is None


@row("2.4 the pointers are taken at submission")
def test_buffers_replaced_in_flight(rig: Rig, driven: Driven) -> None:
    expected = driven.one(5).copy()
    bindings = driven.frame(5)
    first = bindings.output().get_buffer()
    with rig.virtual.held():
        outcome = driven.submit([bindings])
        bindings.output().set_buffer(np.zeros(8, np.uint8))
    assert outcome.result() is None
    np.testing.assert_array_equal(first, expected)
    assert not bindings.output().get_buffer().any()


@row("2.4 inputs are read when the card runs")
def test_inputs_read_late(rig: Rig, driven: Driven) -> None:
    expected = driven.one(9).copy()
    with rig.virtual.held():
        rest = driven.submit()
        late = driven.frame(1)
        outcome = driven.submit([late])  # waits behind `rest`
        late.input().get_buffer()[:] = 9
    assert (rest.result(), outcome.result()) == (None, None)
    np.testing.assert_array_equal(late.output().get_buffer(), expected)


@row("2.4 one DMA allocation an output and frame")
def test_allocations(rig: Rig, device: Any) -> None:
    driven = Driven(device, tiny(outputs=3))
    assert driven.submit(2).result() is None
    driven.close()
    counts = rig.record.models["tiny"]
    assert (counts.dma_allocations, counts.bindings) == (6, 2)


# ------------------------------------------------------------- 2.5 the traps


@row("2.5-1 wait times out twice over, and cancels nothing")
def test_wait_times_out(rig: Rig, driven: Driven, hailo: ModuleType) -> None:
    inner = importlib.import_module("hailo_platform.pyhailort.pyhailort")
    rig.faults.hang()
    outcome = driven.submit()
    before = rig.clock.now()
    with pytest.raises(inner.HailoRTTimeout):
        outcome.job.wait(500)
    assert rig.clock.now() - before == pytest.approx(0.5)
    assert not outcome.done.is_set()
    slow = threading.Event()

    def held_up(completion_info: object) -> None:
        slow.wait(5)

    driven.close()
    with simulated(Rig()) as other, open_device(hailo) as device:
        second = Driven(device, tiny())
        job = second.model.run_async(second.frames(), held_up)
        start = other.clock.now()
        with pytest.raises(inner.HailoRTTimeout):
            job.wait(100)  # the frame is done, its callback is not
        assert other.clock.now() - start >= 0.1
        slow.set()
        job.wait(5000)
        second.close()


@row("2.5-2 wait and run succeed when inference failed")
def test_wait_succeeds_on_failure(rig: Rig, driven: Driven) -> None:
    rig.faults.fail_frames("tiny", 2, 36)
    outcome = driven.submit()
    outcome.job.wait(1000)
    assert type(outcome.result()).__name__ == "HailoRTDriverOperationFailedException"
    frames = driven.frames()
    driven.model.run(frames, 1000)
    assert frames[0].output().get_buffer().tolist() == [0xA5] * 8


@row("2.4 junk in the output after a failure")
def test_junk_after_failure(rig: Rig, driven: Driven) -> None:
    rig.faults.fail_frames("tiny")
    outcome = driven.submit()
    assert outcome.result() is not None
    assert outcome.bindings[0].output().get_buffer().tolist() == [0xA5] * 8


@row("2.5-3 keyword callback, one thread a model, in order, no cause")
def test_callbacks(rig: Rig, driven: Driven) -> None:
    calls: list[tuple[int, str]] = []
    ended = threading.Event()

    def note(number: int) -> Any:
        def call(*, completion_info: Any) -> None:
            calls.append((number, threading.current_thread().name))
            if number == 9:
                ended.set()

        return call

    for number in range(10):
        driven.model.run_async(driven.frames(), note(number))
    assert ended.wait(5)
    assert [number for number, _ in calls] == list(range(10))
    assert len({thread for _, thread in calls}) == 1
    assert calls[0][1].startswith("Dummy-"), "a thread that Python did not start (docs/hailort.md §9.2)"
    rig.faults.fail_frames("tiny", 1, 4)
    failed = driven.submit().result()
    assert type(failed).__name__ == "HailoRTTimeout"
    assert failed.__cause__ is None


@row("2.5-3 one callback a list, failed if any frame failed")
def test_one_callback_a_list(rig: Rig, driven: Driven) -> None:
    rig.faults.fail_frames("tiny", 1, 63)
    outcome = driven.submit(4)
    assert type(outcome.result()).__name__ == "HailoRTStreamAborted"
    outcome.job.wait(1000)
    assert len(outcome.infos) == 1
    buffers = [b.output().get_buffer().tolist() for b in outcome.bindings]
    assert buffers[0] == [0xA5] * 8
    assert [0xA5] * 8 not in buffers[1:]


@row("2.5-4 a raising callback ends the process")
def test_raising_callback(rig: Rig, driven: Driven) -> None:
    def raises(completion_info: object) -> None:
        raise RuntimeError("no")

    driven.model.run_async(driven.frames(), raises).wait(1000)
    assert "std::terminate" in rig.record.crashes[0]


@row("2.5-5 dropping a job is safe")
def test_dropped_job(driven: Driven) -> None:
    outcome = driven.submit()
    outcome.job = None
    gc.collect()
    assert outcome.result() is None


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        pytest.param(lambda b: b.input().set_buffer(np.zeros(13, np.uint8)), 6, id="2.5-6 input of another size"),
        pytest.param(lambda b: b.output().set_buffer(np.zeros(9, np.uint8)), 6, id="2.5-6 output of another size"),
    ],
)
def test_failing_submission_kills(rig: Rig, driven: Driven, spoil: Any, status: int) -> None:
    bad = driven.frame()
    spoil(bad)
    assert refused(driven, [bad])[0] == status
    assert any("is different than expected" in line for line in rig.record.messages)
    assert_dead(driven)


@row("2.5-6 input missing: 61, and the model is dead")
def test_input_missing_kills(driven: Driven) -> None:
    bad = driven.model.create_bindings(None, {"tiny/fc1": np.zeros(8, np.uint8)})
    assert refused(driven, [bad])[0] == 61
    assert_dead(driven)


@row("2.5-6 a full queue: 82, and the model is dead")
def test_overflow_kills(rig: Rig, driven: Driven) -> None:
    size = driven.model.get_async_queue_size()
    with rig.virtual.held():
        outcomes = [driven.submit() for _ in range(2 * size - 1)]  # the real capacity is twice the size
        status, lost = refused(driven, driven.frames())
    assert status == 82
    assert all(type(o.result()).__name__ == "HailoRTStreamAborted" for o in outcomes)
    assert not lost.done.is_set()
    assert any("a queue in the pipeline is full" in line for line in rig.record.messages)
    assert_dead(driven)


@row("2.5-7 a list is not atomic")
def test_list_not_atomic(rig: Rig, driven: Driven) -> None:
    frames = driven.frames(3)
    frames[2].input().set_buffer(np.zeros(1, np.uint8))
    with rig.virtual.held():
        before = driven.submit()
        status, lost = refused(driven, frames)
    assert status == 6
    assert type(before.result()).__name__ == "HailoRTStreamAborted"
    time.sleep(0.05)
    assert not lost.done.is_set()
    assert_dead(driven)


@row("2.5-8 a failed submission leaves its arrays behind")
def test_arrays_left_behind(driven: Driven) -> None:
    array = np.zeros(13, np.uint8)
    kept = weakref.ref(array)
    bad = driven.frame()
    bad.input().set_buffer(array)
    refused(driven, [bad])
    del bad, array
    gc.collect()
    assert kept() is not None
    driven.close()
    driven.model = driven.infer.configure()
    gc.collect()
    assert kept() is None


@row("2.5-9 the callback thread comes with the first frame")
def test_callback_thread_is_lazy(driven: Driven) -> None:
    pipeline = driven.model._configured_infer_model.pipeline

    def running() -> bool:
        return bool(pipeline._thread) and not pipeline._thread_ended.is_set()

    assert not running()
    driven.one()
    assert running()
    driven.close()
    assert not running()


@row("2.5-9 two first submissions at once are noted")
def test_racing_first_submissions(rig: Rig, driven: Driven) -> None:
    threads = [threading.Thread(target=driven.submit) for _ in range(2)]
    with rig.lock:  # both get as far as the library's own lock
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 5
        while not rig.record.crashes and time.monotonic() < deadline:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert set(rig.record.crashes) == {"two first submissions of tiny at once"}


@row("2.5-10 ten seconds without a free slot kill the pipeline")
def test_internal_timeout(rig: Rig, driven: Driven) -> None:
    rig.faults.hang()
    size = driven.model.get_async_queue_size()
    within = [driven.submit() for _ in range(size)]
    with pytest.raises(Exception, match="timeout"):
        within[0].job.wait(30_000)  # as many as the queue holds may wait for ever
    over = driven.submit()
    assert type(over.result()).__name__ == "HailoRTTimeout"
    assert all(type(o.result()).__name__ == "HailoRTTimeout" for o in within)
    assert any("buffer pool is empty" in line for line in rig.record.messages)
    assert_dead(driven, 4)


# ---------------------------------------------------------- 2.3 ready, closing


@row("2.3 ready: occupancy against twice the queue")
def test_ready(rig: Rig, driven: Driven) -> None:
    inner = importlib.import_module("hailo_platform.pyhailort.pyhailort")
    size = driven.model.get_async_queue_size()
    rig.faults.hang()
    driven.submit()
    driven.model.wait_for_async_ready(10, 2 * size - 2)
    with pytest.raises(inner.HailoRTTimeout):
        driven.model.wait_for_async_ready(10, 2 * size - 1)


@row("9.1 ready: a dead model is, too")
def test_dead_but_ready(rig: Rig, driven: Driven) -> None:
    rig.faults.kill("tiny")
    driven.model.wait_for_async_ready(10, 1)
    assert_dead(driven, 4)


@row("9.1 bindings are copied at submission and may be reused")
def test_bindings_reused_in_flight(rig: Rig, driven: Driven) -> None:
    expected = [driven.one(fill).copy() for fill in (3, 4)]
    bindings, taken = driven.frame(3), [np.zeros(8, np.uint8), np.zeros(8, np.uint8)]
    with rig.virtual.held():
        outcomes = []
        for fill, array in zip((3, 4), taken, strict=True):
            bindings.input().set_buffer(np.full((2, 2, 3), fill, np.uint8))
            bindings.output().set_buffer(array)
            outcomes.append(driven.submit([bindings]))
    assert [o.result() for o in outcomes] == [None, None]
    np.testing.assert_array_equal(taken, expected)


@row("2.3 a bare Bindings is no list")
def test_bare_bindings(driven: Driven) -> None:
    with pytest.raises(TypeError):
        driven.model.run_async(driven.frame())


@row("2.3 leaving the context aborts what is in flight")
def test_closing_aborts(rig: Rig, driven: Driven) -> None:
    rig.faults.hang()
    outcome = driven.submit()
    driven.close()
    assert type(outcome.result(0)).__name__ == "HailoRTStreamAborted"


@row("2.3 a model without owner is closed")
def test_dropped_model(rig: Rig, device: Any) -> None:
    driven = Driven(device, tiny())
    driven.one()
    counts = rig.record.models["tiny"]
    deadline = time.monotonic() + 5
    del driven
    while not counts.closed and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert counts.closed == 1


@row("2.5 shutdown with frames in flight stalls, the GIL held")
def test_shutdown_stalls(hailo: ModuleType) -> None:
    with simulated(Rig(clock=50)) as rig, open_device(hailo) as device:
        rig.faults.hang()
        driven = Driven(device, tiny())
        driven.submit()
        ticks = [0]
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(0.005):
                ticks[0] += 1

        thread = threading.Thread(target=tick)
        thread.start()
        time.sleep(0.05)
        before = ticks[0]
        start = time.monotonic()
        driven.model.shutdown()  # 10 simulated seconds
        held, passed = time.monotonic() - start, ticks[0] - before
        stop.set()
        thread.join()
        assert held >= 0.19
        assert passed <= 3
        assert refused(driven, driven.frames())[0] == 63
        driven.close()


@row("2.5 configure holds the GIL")
def test_configure_holds_the_gil(hailo: ModuleType) -> None:
    with simulated(Rig()) as rig, open_device(hailo) as device:
        rig.faults.slow("configure", 0.2)
        seen: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.002):
                seen.append(time.monotonic())

        thread = threading.Thread(target=watch)
        thread.start()
        time.sleep(0.05)
        Driven(device, tiny()).close()
        stop.set()
        thread.join()
        assert max(b - a for a, b in itertools.pairwise(seen)) >= 0.15


@row("2.1 a model left behind keeps the device")
def test_leaked_model(rig: Rig, hailo: ModuleType, device: Any) -> None:
    driven = Driven(device, tiny())
    device.release()
    with pytest.raises(hailo.HailoRTException) as caught:
        hailo.VDevice()
    assert status_of(caught.value) == 74
    driven.close()
    hailo.VDevice().release()
    with pytest.raises(NativeCrash):  # the infer model has only a plain reference to it
        driven.infer.configure()
    assert "use after free" in rig.record.crashes[-1]
