"""The figures for Prometheus, and that dashboard and alerts ask for nothing else."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from debian import program
from project import PROJECT
from prometheus_client.parser import text_string_to_metric_families

from ml_target.catalogue.networks import CLIP_BACKENDS
from ml_target.errors import REASONS
from ml_target.figures.metrics import Exporter
from ml_target.figures.observer import FAULTS, RECOVERIES
from ml_target.figures.present import Present
from ml_target.figures.recorder import Recorder
from ml_target.figures.totals import Histogram
from ml_target.log.trace import STAGES, Trace

EXAMPLES = PROJECT / "docs/examples"
DASHBOARD = json.loads((EXAMPLES / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((EXAMPLES / "prometheus-alerts.yml").read_text(encoding="utf-8"))

NETWORK = CLIP_BACKENDS["tinyclip"].visual.name

PRESENT = Present(
    ready=True,
    tasks={"clip.visual": True, "ocr": False},
    devices=[{"engine": "hailo", "ready": True, "temperature_c": 51.5, "power_w": 2.25}, {"engine": "cpu"}],
    decoded=12,
    decoded_limit=34,
    build={"version": "1.2.3", "engine": "hailo", "backend": "tinyclip"},
)

Series = dict[str, dict[frozenset[tuple[str, str]], float]]


def worked() -> Recorder:
    """A worker that has answered, refused, lost its card and got it back."""
    recorder = Recorder()
    recorder.expect(["clip.visual", "ocr"])
    done, refused = Trace("0"), Trace("1")
    done.tasks, done.stages, done.pictured = {"clip.visual": "clip"}, {"decode": 12.0, "clip.infer": 30.0}, True
    recorder.request(done, 200, None)
    recorder.request(refused, 422, "malformed")
    device = recorder.device("hailo")
    device.queue(NETWORK)
    device.waiting(NETWORK, 3)
    device.burst(NETWORK, 8, 0.02)
    device.fault(NETWORK, "burst_lost", 0.5)
    device.lost()
    device.back("reopened")
    return recorder


@pytest.fixture(scope="module")
def text() -> str:
    return Exporter(worked()).text(PRESENT, "")[0].decode()


@pytest.fixture(scope="module")
def series(text: str) -> Series:
    """Every sample's name, with its sets of labels and their values."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(series: Series, name: str, **labels: str) -> float:
    return series[f"immich_ml_{name}"][frozenset(labels.items())]


def test_every_figure_is_there(series: Series) -> None:
    assert value(series, "build_info", version="1.2.3", engine="hailo", backend="tinyclip") == 1
    assert (value(series, "task_on", task="clip.visual"), value(series, "task_on", task="ocr")) == (1, 0)
    assert value(series, "requests_total", task="clip.visual", outcome="200") == 1
    assert value(series, "requests_total", task="ocr", outcome="200") == 0
    assert value(series, "requests_total", task="none", outcome="422") == 1
    assert value(series, "request_seconds_count", task="clip.visual") == 1
    assert value(series, "request_seconds_count", task="ocr") == 0
    assert value(series, "stage_seconds_sum", task="clip.visual", stage="clip.infer") == pytest.approx(0.03)
    assert value(series, "queue_frames", network=NETWORK) == 3
    assert value(series, "burst_frames_bucket", network=NETWORK, le="4.0") == 0
    assert value(series, "burst_frames_bucket", network=NETWORK, le="8.0") == 1
    assert value(series, "burst_frames_bucket", network=NETWORK, le="+Inf") == 1
    assert value(series, "burst_seconds_sum", network=NETWORK) == pytest.approx(0.02)
    assert value(series, "device_busy_seconds_total", engine="hailo") == pytest.approx(0.52)
    assert value(series, "device_temperature_celsius", engine="hailo") == 51.5
    assert value(series, "device_power_watts", engine="hailo") == 2.25
    assert (value(series, "decoded_bytes"), value(series, "decoded_limit_bytes")) == (12, 34)


def test_all_of_a_closed_set_is_there_from_the_start(series: Series) -> None:
    """A counter that begins with its first event hides it from `increase`."""
    reasons = {dict(labels)["reason"]: count for labels, count in series["immich_ml_failures_total"].items()}
    assert reasons == {reason: float(reason == "malformed") for reason in REASONS}
    kinds = {dict(labels)["kind"]: count for labels, count in series["immich_ml_faults_total"].items()}
    assert kinds == {kind: float(kind == "burst_lost") for kind in FAULTS}
    for kind in RECOVERIES:
        assert value(series, "device_recoveries_total", engine="hailo", kind=kind) == (kind == "reopened")


def test_what_the_card_cannot_say_is_absent() -> None:
    silent = Present(True, {}, [{"engine": "hailo", "ready": True}], 0, 0, {})
    assert b"celsius" not in Exporter(Recorder()).text(silent, "")[0]


def test_the_scraper_chooses_the_form() -> None:
    content, media_type = Exporter(worked()).text(PRESENT, "application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "version",
    ["0.0.1", "9.9.9", "abc", "1..0", "", '"1.0.0"', "1.0.0; version=x"],
    ids=lambda version: version or "empty",
)
def test_a_version_that_nobody_knows_gives_the_plain_form(version: str) -> None:
    accept = f"application/openmetrics-text; version={version}, text/plain; version={version};q=0.1"
    content, media_type = Exporter(worked()).text(PRESENT, accept)
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"immich_ml_ready 1.0\n" in content


def test_a_histogram_counts_a_value_at_a_bound_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for each in (1.0, 1.5, 2.0, 9.0):
        histogram.add(each)
    assert (histogram.counts, histogram.sum) == ([1, 2, 1], 13.5)


def test_every_stage_has_one_name_which_is_documented() -> None:
    timed = re.compile(r"""\.stage\("(?:\w+\.)?(\w+)"\)""")
    files = (PROJECT / "ml_target").rglob("*.py")
    assert {name for file in files for name in timed.findall(file.read_text(encoding="utf-8"))} == set(STAGES)
    document = (PROJECT / "docs/monitoring.md").read_text(encoding="utf-8")
    table = document.partition("\n## Stages\n")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.M)) == STAGES
    assert len(set(STAGES.values())) == len(STAGES)


# ---------------------------------------------------------- dashboard, alerts


def dashboard_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def alert_queries() -> Iterator[str]:
    for group in ALERTS["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


QUERIES = [*dashboard_queries(), *alert_queries()]
WORDS = {"sum", "by", "rate", "increase", "changes", "histogram_quantile", "on", "group_left", "or"}
SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself adds; `up` is its own, too."""


def asked(query: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each series that a query names, with the labels it selects by."""
    for name, labels in re.findall(r"([a-zA-Z_]\w*)\{([^}]*)\}", query):
        yield name, dict(re.findall(r'(\w+)=~?"([^"]*)"', labels))
    bare = re.sub(r"\[[^\]]*\]|\b(?:by|on) \([^)]*\)", "", re.sub(r"\{[^}]*\}", "{}", query))
    yield from ((name, {}) for name in re.findall(r"(?<![\w{])[a-zA-Z_]\w*(?!\w*\{)", bare) if name not in WORDS)


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_asks_for_what_is_exported(query: str, series: Series) -> None:
    names = list(asked(query))
    assert names
    for name, selected in names:
        if name == "up":
            continue
        assert name in series, f"{name} is not exported"
        exported = [dict(labels) for labels in series[name]]
        for label, pattern in selected.items():
            if label not in SCRAPED:
                said = {labels[label] for labels in exported}
                assert all(part in said for part in pattern.split("|")), f"{name} never has {label}={pattern}"
    grouped = {each.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for each in group.split(",")}
    labels = {label for name, _ in names for of in series.get(name, ()) for label in dict(of)}
    assert grouped <= labels | SCRAPED


def test_a_query_for_something_else_would_be_noticed() -> None:
    found = dict(asked('sum by (task) (rate(immich_ml_x_total{task="a"}[5m])) / immich_ml_y > rate(immich_ml_z[1h])'))
    assert found == {"immich_ml_x_total": {"task": "a"}, "immich_ml_y": {}, "immich_ml_z": {}}


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_each_legend_names_labels_that_are_left(panel: dict[str, Any], series: Series) -> None:
    for target in panel["targets"]:
        labels = {label for name, _ in asked(target["expr"]) for of in series[name] for label in dict(of)} | SCRAPED
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert legend <= labels
        assert ("instance" in legend) == ("sum by" not in target["expr"]), "several workers are told apart, or summed"


UNITS = {"bool_on_off", "bool_yes_no", "bytes", "celsius", "percentunit", "reqps", "s", "short"}
"""Of Grafana's names for units (its packages/grafana-data/src/valueFormats): those used here."""


def test_the_dashboard_is_as_grafana_wants_it() -> None:
    """By its published model (kinds/dashboard/dashboard_kind.cue): what a panel has to have, and known names."""
    panels = DASHBOARD["panels"]
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    templated = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["instance"]["datasource"] == templated, "it is imported wherever Prometheus has another uid"
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(x, y) for panel in panels for x, y in squares(panel["gridPos"])]
    assert len(set(places)) == len(places), "no panel lies on another"
    assert max(x for x, _ in places) < 24
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["datasource"] == templated
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert isinstance(panel["fieldConfig"]["overrides"], list)
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        for target in panel["targets"]:
            assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= {"instance", "__rate_interval"}


def squares(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Each square of the grid that a panel covers."""
    yield from product(*(range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h"))))


def test_every_alert_says_what_to_do() -> None:
    for rule in ALERTS["groups"][0]["rules"]:
        assert {"summary", "description"} <= set(rule["annotations"])


def promtool(*arguments: str, given: str | None = None) -> None:
    ran = subprocess.run(
        [program("prometheus", "promtool"), *arguments], input=given, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_finds_no_fault_with_the_figures(text: str) -> None:
    promtool("check", "metrics", given=text)


WELL = {
    'up{job="immich-ml"}': "1x120",
    "immich_ml_ready{}": "1x120",
    'immich_ml_task_on{task="ocr"}': "1x120",
    'immich_ml_failures_total{reason="internal"}': "2x120",
    'immich_ml_failures_total{reason="late"}': "2x120",
    'immich_ml_device_temperature_celsius{engine="hailo"}': "70x120",
    'immich_ml_device_recoveries_total{engine="hailo",kind="reopened"}': "0x90 1x29",
    'process_start_time_seconds{job="immich-ml"}': "1x90 2x29",
}
"""Series by the minute for two hours: a worker that was started anew, and got its card back, once."""

TROUBLES = {
    "ImmichMlDown": ('up{job="immich-ml"}', "1x110 0x9"),
    "ImmichMlNotReady": ("immich_ml_ready{}", "1x110 0x9"),
    "ImmichMlTaskOff": ('immich_ml_task_on{task="ocr"}', "1x100 0x19"),
    "ImmichMlFailing": ('immich_ml_failures_total{reason="internal"}', "2x110 3x9"),
    "ImmichMlOverloaded": ('immich_ml_failures_total{reason="late"}', "2x110 3x9"),
    "ImmichMlRestarts": ('process_start_time_seconds{job="immich-ml"}', "1x70 2x10 3x10 4x27"),
    "ImmichMlCardHot": ('immich_ml_device_temperature_celsius{engine="hailo"}', "70x110 97x9"),
    "ImmichMlCardLost": ('immich_ml_device_recoveries_total{engine="hailo",kind="reopened"}', "0x70 1x10 2x10 3x27"),
}
"""What has to happen for each alert, and for it alone."""


def told(series: dict[str, str], samples: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A test of promtool's: series by the minute, and what each query finds in them after two hours."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": "120m", "exp_samples": found} for query, found in samples.items()
        ],
    }


def test_each_alert_fires_when_it_should_and_each_panel_shows_something(text: str, tmp_path: Path) -> None:
    assert set(TROUBLES) == {rule["alert"] for rule in ALERTS["groups"][0]["rules"]}
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = [told(WELL, {firing: []})]
    for alert, (name, values) in TROUBLES.items():
        tests.append(told({**WELL, name: values}, {firing: [{"labels": f'{{alertname="{alert}"}}', "value": 1}]}))
    grows = {line.rpartition(" ")[0]: "1+1x120" for line in text.splitlines() if not line.startswith("#")}
    shown = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in dashboard_queries()]
    tests.append(told(grows, {f"count({query}) > bool 0": [{"labels": "{}", "value": 1}] for query in shown}))
    file = tmp_path / "tests.yml"
    rules = [str(EXAMPLES / "prometheus-alerts.yml")]
    file.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "5m", "tests": tests}), "utf-8")
    promtool("test", "rules", str(file))


def test_promtool_finds_no_fault_with_the_queries(tmp_path: Path) -> None:
    promtool("check", "rules", str(EXAMPLES / "prometheus-alerts.yml"))
    plain = (query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in dashboard_queries())
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(plain)]
    of_panels = tmp_path / "panels.yml"
    of_panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", str(of_panels))
