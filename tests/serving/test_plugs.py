"""A made-up task and a made-up CLIP backend: a line in each register, and they are served over HTTP as any other."""

import asyncio
import io
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from pydantic import Field, StrictInt
from serving import live

from ml_target.__main__ import main
from ml_target.catalogue import files
from ml_target.catalogue.needs import needs, whole_catalogue
from ml_target.catalogue.networks import CLIP_BACKENDS, NETWORKS, picture_tower, text_tower
from ml_target.catalogue.types import ClipBackend, ModelFile, Network, PictureInput, Resize, TextInput, Vector
from ml_target.config import Settings
from ml_target.diagnostics.checks.bounds import most
from ml_target.diagnostics.checks.register import CHECKS, Checks
from ml_target.diagnostics.checks.result import Check
from ml_target.diagnostics.checks.samples import Samples
from ml_target.diagnostics.checks.sides import Bench
from ml_target.diagnostics.selfcheck import examine
from ml_target.log.trace import Trace
from ml_target.runtime.assembly import Loader
from ml_target.runtime.lifecycle import Worker
from ml_target.runtime.registry import Services
from ml_target.runtime.summary import summarise
from ml_target.scheduling.model import Model
from ml_target.tasks.clip.tokenizer import open_tokenizer
from ml_target.tasks.contract import ImmichSetting, Job, Loading, Offer, Task
from ml_target.tasks.register import TASKS
from ml_target.tasks.service import Service
from ml_target.tasks.wire import Strict
from ml_target.tensors import Float32, UInt8

SIDE, ROWS = 64, 97
AS_SHARES = PictureInput(SIDE, SIDE, "RGB", mean=(0.0,) * 3, std=(255.0,) * 3)

# ------------------------------------------------------------- a made-up task

COLOUR_FILE = ModelFile("colours.onnx", (), "MIT")
COLOUR_NETWORK = Network("colours", "colours", "mean", AS_SHARES, ((Vector("colour", 3),),), onnx=(COLOUR_FILE,))


class _Options(Strict):
    decimals: Annotated[StrictInt, Field(ge=0, le=9)] = 3


class _Mean(Strict):
    modelName: str  # noqa: N815 - the wire's spelling
    options: _Options = _Options()


class _Entry(Strict):
    mean: _Mean


class Colours(Task[_Entry, list[float]]):
    """The mean of a picture's upper left corner, as shares of red, green and blue."""

    name = "colours"
    entry = _Entry

    def offers(self, loading: Loading) -> Sequence[Offer[Model]]:
        def load(loading: Loading) -> tuple[Model, tuple[Model, ...]]:
            model = loading.model(COLOUR_NETWORK)
            return model, (model,)

        return [Offer((COLOUR_NETWORK,), load)]

    def jobs(self, entry: _Entry) -> list[Job]:
        return [Job(self, self.name, entry.mean.modelName, entry.mean.options.decimals)]

    def plain_job(self) -> Job:
        return Job(self, self.name, "", _Options().decimals)

    def memory(self, pixels: int) -> int:
        return 0

    async def run(self, job: Job, serves: Model, content: UInt8, trace: Trace) -> list[float]:
        with trace.stage("colours.infer"):
            (outputs,) = await serves.infer([np.ascontiguousarray(content[:SIDE, :SIDE])])
        return [round(float(share), job.options) for share in outputs["colour"].real()]

    def encode(self, result: list[float]) -> dict[str, float]:
        return dict(zip(("red", "green", "blue"), result, strict=True))

    def labels(self, service: Service[Any]) -> tuple[str, str]:
        return "colours", "three numbers"

    def immich_setting(self, service: Service[Any]) -> ImmichSetting:
        return ImmichSetting("Colour model", "any")


COLOURS = Colours()


class ColourChecks:
    """Whether the network sees red."""

    def __init__(self, bench: Bench, loader: Loader) -> None:
        self._bench, self._loader = bench, loader

    async def run(self) -> list[Check]:
        return [await self._bench.guard("colours", self._red)]

    async def _red(self) -> Check:
        service = await self._bench.serves(lambda: self._loader.service(COLOURS.offers(self._loader)[0]))
        red = np.full((SIDE, SIDE, 3), (255, 0, 0), np.uint8)
        seen = await COLOURS.run(Job(COLOURS, "colours", "", 3), service.get(), red, Trace())
        bounds = {"off": most("red off by", 0.01, 0.1)}
        return Check.of("colours", service.models, bounds, {"off": abs(seen[0] - 1) + seen[1] + seen[2]})


def _checks(bench: Bench, loader: Loader, samples: Samples) -> Iterator[tuple[str, Checks]]:
    yield "colours", ColourChecks(bench, loader)


# --------------------------------------------------------- a made-up backend


def backend(resize: Resize) -> ClipBackend:
    """Six numbers: red, green and blue of the left and of the right half."""
    onnx_files = [ModelFile(f"halves_{stage}.onnx", (), "MIT") for stage in ("image", "text")]
    weights = ModelFile("halves_text_weights.npz", (), "MIT")
    return ClipBackend(
        "halves",
        "clip",
        picture_tower("halves", "halves_image", AS_SHARES, 6, onnx_files[0], {}),
        text_tower("halves", "halves_text", TextInput(77, 8), 6, onnx_files[1], {}, (files.CLIP_VOCABULARY,), weights),
        width=6,
        immich_name="Halves__made-up",
        pooling="end",
        resize=resize,
    )


TABLE = np.random.default_rng(4).normal(size=(ROWS, 6)).astype(np.float32)


def write_models(folder: Path, wheel_models: Path) -> Path:
    folder.mkdir()
    (folder / files.CLIP_VOCABULARY.name).symlink_to(wheel_models / files.CLIP_VOCABULARY.name)
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    for name, width in ((COLOUR_FILE.name, SIDE), ("halves_image.onnx", SIDE // 2)):
        nodes = [
            helper.make_node("AveragePool", ["picture"], ["means"], kernel_shape=[SIDE, width], strides=[SIDE, width]),
            helper.make_node("Flatten", ["means"], ["vector"]),
        ]
        _save(folder / name, nodes, [], picture, 3 * SIDE // width)
    nodes = [
        helper.make_node("Mod", ["ids", "rows"], ["short"]),
        helper.make_node("Gather", ["table", "short"], ["looked_up"]),
        helper.make_node("ReduceMean", ["looked_up"], ["vector"], axes=[1], keepdims=0),
    ]
    constants = [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array(ROWS), "rows")]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 77])
    _save(folder / "halves_text.onnx", nodes, constants, ids, 6)
    return folder


def _save(file: Path, nodes: list[Any], constants: list[Any], given: Any, width: int) -> None:
    result = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["N", width])
    graph = helper.make_graph(nodes, "made-up", [given], [result], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


# ------------------------------------------------------------------ fixtures


@pytest.fixture(scope="module", autouse=True)
def plugged() -> Iterator[None]:
    """Both are in the registers, and out of them again afterwards."""
    made, before = backend("squash"), list(NETWORKS)
    CLIP_BACKENDS[made.name] = made
    NETWORKS.extend((made.visual, made.textual, COLOUR_NETWORK))
    TASKS.append(COLOURS)
    CHECKS[COLOURS.name] = _checks
    yield
    del CHECKS[COLOURS.name], CLIP_BACKENDS[made.name]
    TASKS.remove(COLOURS)
    NETWORKS[:] = before


@pytest.fixture(scope="module")
def folder(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("made-up") / "models", wheel_models)


def settings_for(folder: Path) -> Settings:
    return Settings(engine="cpu", clip_backend="halves", models_dir=folder, cpu_threads=1, cpu_workers=1)


@contextmanager
def served(folder: Path) -> Iterator[tuple[httpx.Client, Worker]]:
    with live(None, settings_for(folder)) as (client, worker):
        while worker.state == "loading":
            time.sleep(0.01)
        yield client, worker


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml_target.store.command.PROJECT", folder)  # its models/ may hold what this one lacks
        with served(folder) as (client, _):
            yield client


def stripes() -> bytes:
    """128 x 64: a quarter red, the middle green, a quarter blue."""
    pixels = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, 0] = pixels[:, SIDE // 2 : -SIDE // 2, 1] = pixels[:, -SIDE // 2 :, 2] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


VISUAL = {"clip": {"visual": {"modelName": "Halves__made-up"}}}
TEXTUAL = {"clip": {"textual": {"modelName": "Halves__made-up"}}}


def colours(**options: Any) -> dict[str, Any]:
    return {"colours": {"mean": {"modelName": "any", "options": options}}}


def ask(client: httpx.Client, entries: dict[str, Any], text: str | None = None) -> httpx.Response:
    form = {"entries": json.dumps(entries)}
    if text is not None:
        return client.post("/predict", data={**form, "text": text})
    return client.post("/predict", data=form, files={"image": stripes()})


# --------------------------------------------------------------------- tests


def test_both_are_served_in_one_request(client: httpx.Client) -> None:
    answer = ask(client, {**VISUAL, **colours(decimals=1)}).json()
    assert answer["colours"] == {"red": 0.5, "green": 0.5, "blue": 0.0}
    assert (answer["imageHeight"], answer["imageWidth"]) == (SIDE, 2 * SIDE)
    assert len(json.loads(answer["clip"])) == 6


@pytest.mark.parametrize(
    ("resize", "expected"),
    [("squash", [0.5, 0, 0.5, 0.5, 0, 0.5]), ("shortest", [0, 0, 0.5**0.5, 0.5**0.5, 0, 0])],
)
def test_how_pictures_are_prepared_is_said_by_the_backend(
    resize: Resize, expected: list[float], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by its family: this one is of the family "clip" both times."""
    monkeypatch.setitem(CLIP_BACKENDS, "halves", backend(resize))
    with served(folder) as (client, _):
        vector = json.loads(ask(client, VISUAL).json()["clip"])
    assert vector == pytest.approx(expected, abs=0.02)


def test_a_query_goes_through_the_text_tower(client: httpx.Client, folder: Path) -> None:
    ids = open_tokenizer("clip", [folder / files.CLIP_VOCABULARY.name]).encode("a red car")
    wanted: Float32 = TABLE[ids % ROWS].mean(axis=0)
    vector = json.loads(ask(client, TEXTUAL, "a red car").json()["clip"])
    assert vector == pytest.approx((wanted / np.linalg.norm(wanted)).tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("entries", "text", "status", "words"),
    [
        (colours(shade=1), None, 422, "colours.mean.options.shade: Extra inputs are not permitted"),
        (colours(decimals=10), None, 422, "colours.mean.options.decimals: Input should be less than or equal to 9"),
        ({"colours": {}}, None, 422, "colours asks for nothing"),
        ({"colors": {"mean": {"modelName": "any"}}}, None, 422, "colors: Extra inputs are not permitted"),
        ({}, None, 422, "Ask for clip, facial-recognition, ocr or colours in entries."),
        (colours(), "a red car", 400, "colours needs a picture, but the request holds a text. Send an image part."),
        (TEXTUAL, None, 400, "clip.textual needs a text, but the request holds an image. Send a text part."),
        (
            {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}},
            None,
            400,
            "this worker serves halves with 6. Start the worker with CLIP_BACKEND=tinyclip or CLIP_BACKEND=vit_b_32",
        ),
    ],
)
def test_what_is_refused(
    entries: dict[str, Any], text: str | None, status: int, words: str, client: httpx.Client
) -> None:
    response = ask(client, entries, text)
    assert response.status_code == status
    assert words in response.json()["detail"]


def test_the_status_page_knows_both(client: httpx.Client) -> None:
    status = client.get("/status").json()
    assert [name for name, task in status["tasks"].items() if task["on"]] == ["clip.visual", "clip.textual", "colours"]
    assert status["tasks"]["colours"]["networks"][0]["file"] == "colours.onnx"
    assert status["clip"] == [
        {
            "space": "halves",
            "width": 6,
            "on": True,
            "immich_name": "Halves__made-up",
            "names_of_this_width": [],
            "recommended_name": "Halves__made-up",
            "why": "It is this model's own name in Immich.",
        }
    ]


def test_the_page_has_its_name_on_the_wire_where_it_knows_no_other(client: httpx.Client) -> None:
    ask(client, colours())
    page, live_figures = (client.get(f"/status/{part}").json() for part in ("page", "live"))
    (task,) = (each for each in page["tasks"] if each["name"] == "colours")
    assert (task["on"], task["label"], task["served_by"], task["choose"]) == (True, "colours", "three numbers", "any")
    assert {"field": "Colour model", "value": "any", "note": ""} in page["immich"]
    assert "colours" in live_figures["tasks"]


def test_without_its_file_the_task_is_off_and_says_why(wheel_models: Path, tmp_path: Path) -> None:
    partly = write_models(tmp_path / "partly", wheel_models)
    (partly / COLOUR_FILE.name).unlink()
    with served(partly) as (client, worker):
        response = ask(client, colours())
        assert response.status_code == 503
        assert response.json()["detail"].startswith(
            "colours is off: colours.onnx is not there and nobody publishes it: put"
        )
        assert worker.status()["tasks"]["colours"] == {
            "on": False,
            "why": response.json()["detail"].removeprefix("colours is off: "),
            "fault": False,
        }
        assert ask(client, VISUAL).status_code == 200


def test_the_lists_of_files_and_the_summary_know_both(folder: Path) -> None:
    settings = settings_for(folder)
    with served(folder) as (_, worker):
        wanted = [need for need in needs(settings, "cpu") if need.label in ("clip halves", "colours")]
        assert [(need.service or need.label, need.files[0].name, need.optional) for need in wanted] == [
            ("clip.visual (halves)", "halves_image.onnx", False),
            ("clip.textual (halves)", "halves_text.onnx", False),
            ("clip.textual (halves)", files.CLIP_VOCABULARY.name, False),
            ("clip.textual (halves)", "halves_text_weights.npz", True),
            ("colours", "colours.onnx", False),
        ]
        assert {"halves_image.onnx", "colours.onnx"} <= {need.files[0].name for need in whole_catalogue()}
        services = worker._services
        assert isinstance(services, Services)
        lines = summarise(services, "x", ImmichSetting("URL", "http://h:1")).lines
    assert "  search             on   halves, 6 numbers" in lines
    assert "  colours            on   three numbers" in lines
    assert "  CLIP model         Halves__made-up" in lines
    assert "  Colour model       any" in lines


@pytest.mark.parametrize("json_alone", [False, True])
def test_predict_answers_for_it(
    json_alone: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its JSON, beside a task that `predict` has words for."""
    for name, value in (("ENGINE", "cpu"), ("CLIP_BACKEND", "halves"), ("MODELS_DIR", str(folder))):
        monkeypatch.setenv(name, value)
    photo = tmp_path / "stripes.png"
    photo.write_bytes(stripes())
    assert main(["predict", str(photo), "--task", "colours", "--task", "clip", *["--json"][: int(json_alone)]]) == 0
    out = capsys.readouterr().out
    if json_alone:
        answer = json.loads(out)
        assert answer["colours"] == {"red": 0.5, "green": 0.5, "blue": 0.0}
        assert len(json.loads(answer["clip"])) == 6
    else:
        assert out == 'clip: 6 numbers in space halves\ncolours: {"red":0.5,"green":0.5,"blue":0.0}\n'


def checked(folder: Path) -> Check:
    async def examined() -> list[Check]:
        bench = Bench(settings_for(folder))
        try:
            return list((await examine(bench, Samples.load({}), ["colours"])).checks)
        finally:
            bench.close()

    (check,) = asyncio.run(examined())
    return check


def test_selfcheck_says_so_where_it_has_no_checks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CHECKS, COLOURS.name)
    check = checked(folder)
    assert (check.name, check.verdict) == ("colours", "not checked")
    assert check.reason == "nobody has written a check of this task"
    assert check.remedy


def test_selfcheck_looks_at_it(folder: Path) -> None:
    check = checked(folder)
    assert (check.name, check.verdict, check.files) == ("colours", "right", ("colours.onnx",))
