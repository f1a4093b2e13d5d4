"""The figures in Prometheus' format. It is imported at the first scrape: nobody else pays for the library.

No label holds text from outside: tasks and networks are those of the catalogue, the others come from closed sets.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ml_target.errors import REASONS
from ml_target.figures.observer import FAULTS, RECOVERIES
from ml_target.figures.present import Present
from ml_target.figures.recorder import Recorder
from ml_target.figures.totals import REQUEST_S, Histogram, OfNetwork, Totals

PREFIX = "immich_ml_"
DONE = 200
VERSIONS = {"0.0.1", "0.0.4", "1.0.0"}
"""Of the formats, as far as the library writes them. It takes any version for one, and fails at one without numbers."""


class Exporter:
    """Writes one worker's figures."""

    def __init__(self, recorder: Recorder) -> None:
        self._registry = CollectorRegistry()
        self._worker = _Worker(recorder)
        self._registry.register(self._worker)
        ProcessCollector(registry=self._registry)

    def text(self, present: Present, accept: str) -> tuple[bytes, str]:
        """The figures and their media type, in the form that a scraper's `Accept` asks for."""
        self._worker.present = present
        known = (
            each for each in accept.split(",") if set(re.findall(r"version=([^;]*)", each.replace(" ", ""))) <= VERSIONS
        )
        encode, media_type = choose_encoder(",".join(known))
        return encode(self._registry), media_type


class _Worker(Collector):
    """Reads what the recorder has taken down."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.present: Present | None = None

    def collect(self) -> Iterator[Metric]:
        if self.present is not None:
            yield from _now(self.present)
        yield from self._requests(self._recorder.totals)
        yield from self._bursts(self._recorder.totals)

    def _requests(self, totals: Totals) -> Iterator[Metric]:
        known = dict.fromkeys(((task, DONE) for task in list(self._recorder.tasks)), 0) | totals.requests
        yield _counter(
            "requests",
            "Requests answered, by task and status; one for several tasks counts for each of them.",
            ("task", "outcome"),
            (((task, str(outcome)), count) for (task, outcome), count in known.items()),
        )
        yield _counter(
            "failures",
            "Requests that were refused or failed, by reason.",
            ("reason",),
            (((reason,), totals.failures[reason]) for reason in REASONS),
        )
        times = HistogramMetricFamily(
            f"{PREFIX}request_seconds", "Time of the requests that were done, by task.", labels=("task",)
        )
        for task in list(self._recorder.tasks):
            _add(times, task, totals.seconds.get(task) or Histogram(REQUEST_S))
        yield times
        stages = SummaryMetricFamily(
            f"{PREFIX}stage_seconds",
            "Time of the requests that were done, by task and stage.",
            labels=("task", "stage"),
        )
        for labels, total in totals.stages.items():
            stages.add_metric(labels, total.count, total.sum)
        yield stages

    def _bursts(self, totals: Totals) -> Iterator[Metric]:
        networks = dict(self._recorder.networks)
        waits = self._recorder.ring.waits
        yield _gauge(
            "queue_frames",
            "Frames that wait for a network.",
            ("network",),
            (((name,), waits.get(name, 0)) for name in networks),
        )
        frames = HistogramMetricFamily(f"{PREFIX}burst_frames", "Frames of a burst, by network.", labels=("network",))
        seconds = HistogramMetricFamily(f"{PREFIX}burst_seconds", "Time of a burst, by network.", labels=("network",))
        for name in networks:
            of = totals.bursts.get(name) or OfNetwork()
            _add(frames, name, of.frames)
            _add(seconds, name, of.seconds)
        yield frames
        yield seconds
        engines = tuple(dict.fromkeys(networks.values()))
        yield _counter(
            "device_busy_seconds",
            "Seconds of bursts, answered or not; on the processor several run at a time.",
            ("engine",),
            (((engine,), totals.busy.get(engine, 0.0)) for engine in engines),
        )
        yield _counter(
            "device_recoveries",
            "Times that a lost device was got back, by what it took.",
            ("engine", "kind"),
            (((engine, kind), totals.recoveries[engine, kind]) for engine in engines for kind in RECOVERIES),
        )
        yield _counter(
            "faults",
            "Bursts that were not answered, by kind.",
            ("kind",),
            (((kind,), totals.faults[kind]) for kind in FAULTS),
        )


def _now(present: Present) -> Iterator[Metric]:
    yield InfoMetricFamily(f"{PREFIX}build", "Version, engine and models.", value=dict(present.build))
    yield _gauge("ready", "1 while the worker serves; 0 means that /ping says 503.", (), [((), present.ready)])
    yield _gauge("task_on", "1 while a task is on.", ("task",), (((name,), on) for name, on in present.tasks.items()))
    yield _gauge("decoded_bytes", "Bytes that pictures being worked on take.", (), [((), present.decoded)])
    yield _gauge("decoded_limit_bytes", "Bytes that they may take.", (), [((), present.decoded_limit)])
    for name, key, words in (
        ("device_temperature_celsius", "temperature_c", "Temperature of the card's chip, its hottest sensor."),
        ("device_power_watts", "power_w", "Power that the card takes."),
    ):
        said = [((str(device["engine"]),), device[key]) for device in present.devices if key in device]
        if said:
            yield _gauge(name, words, ("engine",), said)


_Values = Iterable[tuple[tuple[str, ...], float]]


def _counter(name: str, words: str, labels: tuple[str, ...], values: _Values) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", words, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _gauge(name: str, words: str, labels: tuple[str, ...], values: _Values) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", words, labels=labels)
    for of, value in values:
        family.add_metric(of, float(value))
    return family


def _add(family: HistogramMetricFamily, label: str, histogram: Histogram) -> None:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    family.add_metric((label,), list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum)
