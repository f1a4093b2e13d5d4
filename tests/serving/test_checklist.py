"""The conformance checklist of Immich's protocol, row by row, over real HTTP.

The services behind it are stand-ins; rows that need real networks are in `test_real_photos.py`.
"""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from pictures import picture
from PIL import Image
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, PHOTO, QUERY, ask, form_body, search, vector


@pytest.fixture(scope="module")
def tasks() -> FakeTasks:
    return FakeTasks()


@pytest.fixture(scope="module")
def client(tasks: FakeTasks) -> Iterator[httpx.Client]:
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        yield client


# ------------------------------------------------------------- A: endpoints


def test_a1_root(client: httpx.Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.json()) == (200, {"message": "Immich ML"})
    assert answer.headers["content-type"] == "application/json"


def test_a2_a3_ping(client: httpx.Client) -> None:
    answer = client.get("/ping")
    assert (answer.status_code, answer.content) == (200, b"pong")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.elapsed.total_seconds() < 2


@pytest.mark.parametrize("path", ["/nothing", "/docs", "/predict/x"])
def test_a4_unknown_paths(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(("method", "path"), [("GET", "/predict"), ("POST", "/ping"), ("HEAD", "/ping")])
def test_a5_wrong_methods(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    if method != "HEAD":
        assert answer.json() == {"detail": "Method Not Allowed"}


def test_a6_strict_json(client: httpx.Client) -> None:
    answer = ask(client, {**CLIP, **FACES, **OCR})
    assert answer.headers["content-type"] == "application/json"

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    assert isinstance(json.loads(answer.content.decode("utf-8"), parse_constant=refuse), dict)


# ------------------------------------------------------------------ B: form


def raw(client: httpx.Client, body: bytes, content_type: str, chunked: bool = False) -> httpx.Response:
    content: Any = (body[i : i + 1000] for i in range(0, len(body), 1000)) if chunked else body
    return client.post("/predict", content=content, headers={"content-type": content_type})


IMAGE_PART = ('name="image"; filename="blob"\r\nContent-Type: application/octet-stream', PHOTO)
ENTRIES_PART = ('name="entries"', json.dumps(CLIP).encode())


@pytest.mark.parametrize(
    "boundary", ["----formdata-undici-012345678901", "immich-0f8fad5b-d9cb-469f-a165-70867728950e"]
)
@pytest.mark.parametrize("order", [1, -1], ids=["as sent", "reversed"])
@pytest.mark.parametrize("chunked", [False, True])
def test_b1_b2_b3_b6_forms(client: httpx.Client, boundary: str, order: int, chunked: bool) -> None:
    body = form_body(boundary, [ENTRIES_PART, IMAGE_PART][::order])
    answer = raw(client, body, f"multipart/form-data; boundary={boundary}", chunked)
    assert answer.status_code == 200, answer.text
    assert len(vector(answer.json()["clip"])) == 512


def test_b4_b5_real_names_and_further_fields(client: httpx.Client) -> None:
    answer = client.post(
        "/predict",
        data={"entries": json.dumps(CLIP), "surprise": "1"},
        files={"image": ("IMG_1.jpeg", PHOTO, "image/jpeg")},
    )
    assert answer.status_code == 200


def test_urlencoded_forms_work_too(client: httpx.Client) -> None:
    answer = client.post("/predict", data={"entries": json.dumps(QUERY), "text": "a cat"})
    assert answer.status_code == 200


@pytest.mark.parametrize("options", [{}, {"options": {}}, {"options": None}, {"options": {"later": [1, {}]}}])
def test_b7_b8_options_missing_empty_unknown(client: httpx.Client, options: dict[str, Any]) -> None:
    models = {"modelName": "buffalo_l", **options}
    answer = ask(client, {"facial-recognition": {"detection": models, "recognition": models}})
    assert answer.status_code == 200
    assert len(answer.json()["facial-recognition"]) == 2, "the default minScore is 0.7"


def test_b9_names_with_an_organisation(client: httpx.Client) -> None:
    assert ask(client, {"clip": {"visual": {"modelName": "immich-app/ViT-B-32__openai"}}}).status_code == 200


def test_b10_more_than_ten_megabytes(client: httpx.Client) -> None:
    big = picture(1, 2400, 1800, "BMP")
    assert len(big) > 10_000_000
    answer = ask(client, CLIP, big)
    assert (answer.status_code, answer.json()["imageWidth"]) == (200, 2400)


def test_b11_connections_are_kept(client: httpx.Client) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    with socket.create_connection((host, port)) as connection:
        for _ in range(2):
            connection.sendall(f"GET /ping HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"pong"):
                answer += connection.recv(1000)
            time.sleep(1.1)


# ---------------------------------------------------------- C, T: smart search


def test_c1_to_c7_picture_vectors(client: httpx.Client) -> None:
    first, again, other = ask(client, CLIP).json(), ask(client, CLIP).json(), ask(client, CLIP, picture(7)).json()
    numbers = vector(first["clip"])
    assert len(numbers) == 512
    assert np.linalg.norm(numbers) == pytest.approx(1, abs=1e-5)
    assert (first["imageWidth"], first["imageHeight"]) == (64, 48)
    assert type(first["imageWidth"]) is int
    assert first["clip"] == again["clip"] != other["clip"]


@pytest.mark.parametrize("language", ["en", "de", "zh-Hans", "en-null", None, 7])
def test_t1_to_t4_queries_in_any_language(client: httpx.Client, language: Any) -> None:
    entries = {"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": language}}}}
    answer = search(client, "a cat", entries)
    assert answer.status_code == 200
    assert answer.json().keys() == {"clip"}
    assert len(vector(answer.json()["clip"])) == 512


def test_t6_t8_queries_are_told_apart(client: httpx.Client) -> None:
    assert search(client, "a cat").json() == search(client, "a cat").json() != search(client, "a dog").json()


@pytest.mark.parametrize("text", ["x" * 5000, "two\r\nlines", "🐈‍⬛ 家族", "قطة", 'it\'s "quoted" \\ {}', "\u0000"])
def test_t7_any_text(client: httpx.Client, text: str) -> None:
    assert search(client, text).status_code == 200


# ------------------------------------------------------------------ F: faces


def faces(client: httpx.Client, score: float, image: bytes = PHOTO) -> Any:
    detection = {"modelName": "buffalo_l", "options": {"minScore": score}}
    recognition = {"modelName": "buffalo_l"}
    answer = ask(client, {"facial-recognition": {"recognition": recognition, "detection": detection}}, image)
    assert answer.status_code == 200
    assert (answer.json()["imageWidth"], answer.json()["imageHeight"]) == (64, 48)
    return answer.json()["facial-recognition"]


def test_f1_to_f7_faces(client: httpx.Client) -> None:
    found = faces(client, 0.1)
    assert len(found) == 3
    for face in found:
        box = face["boundingBox"]
        assert all(float(n).is_integer() for n in box.values())
        assert box == {"x1": -4, "y1": 2, "x2": 32, "y2": 16}, "halves are rounded to even"
        assert len(vector(face["embedding"])) == 512
        assert 0 < face["score"] <= 1


def test_f8_min_score_is_inclusive_and_per_request(client: httpx.Client) -> None:
    assert [len(faces(client, score)) for score in (0.9, 0.7, 0.71, 0.1, 1)] == [1, 2, 1, 3, 0]


def test_f2_no_face_is_an_empty_list(client: httpx.Client) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "PNG")
    assert faces(client, 0.1, stream.getvalue()) == []


# -------------------------------------------------------------------- O: OCR


def test_o1_to_o7_lines(client: httpx.Client) -> None:
    answer = ask(client, OCR).json()
    result = answer["ocr"]
    assert result["text"] == ["HELLO", "wörld"]
    assert len(result["box"]) == 16
    assert all(0 <= n <= 1 for n in result["box"])
    assert result["box"][:8] == pytest.approx([0.1, 0.2, 0.5, 0.2, 0.5, 0.3, 0.1, 0.3])
    assert result["boxScore"] == pytest.approx([0.8, 0.7])
    assert result["textScore"] == pytest.approx([0.97, 0.85])
    assert (answer["imageWidth"], answer["imageHeight"]) == (64, 48)


def test_o8_o9_options_reach_the_reader(client: httpx.Client, tasks: FakeTasks) -> None:
    for resolution in (1, 736, 736.0, 5000, 10**12):
        entries = json.loads(json.dumps(OCR))
        entries["ocr"]["detection"]["options"] = {"minScore": 0.75, "maxResolution": resolution}
        entries["ocr"]["recognition"]["options"] = {"minScore": 0.25}
        assert ask(client, entries).json()["ocr"]["text"] == ["HELLO"]
        options = tasks.options[-1]
        assert (options.min_box_score, options.min_text_score) == (0.75, 0.25)
        assert options.max_resolution == min(int(resolution), 1_000_000)


def test_ocr_defaults_are_the_official_ones(client: httpx.Client, tasks: FakeTasks) -> None:
    names = {"modelName": "PP-OCRv5_mobile"}
    assert ask(client, {"ocr": {"detection": names, "recognition": names}}).json()["ocr"]["text"] == ["HELLO"]
    options = tasks.options[-1]
    assert (options.min_box_score, options.max_resolution, options.min_text_score) == (0.5, 736, 0.9)


def test_o10_nothing_found_is_four_empty_lists(client: httpx.Client) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "PNG")
    assert ask(client, OCR, stream.getvalue()).json()["ocr"] == {"text": [], "box": [], "boxScore": [], "textScore": []}


# --------------------------------------------------------------- M: several


def test_m1_m2_several_tasks_at_once(client: httpx.Client) -> None:
    together = ask(client, {**OCR, **FACES, **CLIP}).json()
    assert together == {**ask(client, OCR).json(), **ask(client, FACES).json(), **ask(client, CLIP).json()}


# ------------------------------------------------------------ R: the picture


@pytest.mark.parametrize(
    "data",
    [
        picture(form="PNG"),
        picture(form="WEBP"),
        picture(form="JPEG", progressive=True),
        picture(width=1, height=1, form="PNG"),
        picture(width=9000, height=2, form="PNG"),
    ],
)
def test_r1_r3_pictures_of_all_kinds(client: httpx.Client, data: bytes) -> None:
    assert ask(client, {**CLIP, **FACES, **OCR}, data).status_code == 200


# --------------------------------------------------------------- E: refusals

NAME = {"modelName": "x"}
REFUSED: dict[str, tuple[Any, int, str]] = {
    "E2 not JSON": ("{", 422, "not JSON"),
    "E2 NaN": ('{"clip":{"visual":{"modelName":NaN}}}', 422, "not JSON"),
    "E3 a list": ([1], 422, "not a JSON object"),
    "E4 task no object": ({"clip": 1}, 422, "Invalid request format: clip"),
    "E5 no modelName": ({"clip": {"visual": {}}}, 422, "clip.visual.modelName"),
    "E6 modelName a number": ({"clip": {"visual": {"modelName": 3}}}, 422, "clip.visual.modelName"),
    "E7 model no object": ({"clip": {"visual": "x"}}, 422, "clip.visual"),
    "E8 unknown task": ({"colours": {"visual": NAME}}, 422, "colours"),
    "E9 unknown type": ({"clip": {"audio": NAME}}, 422, "clip.audio"),
    "unknown key beside modelName": ({"clip": {"visual": {**NAME, "extra": 1}}}, 422, "extra"),
    "E16 faces: recognition alone": ({"facial-recognition": {"recognition": NAME}}, 400, "needs detection"),
    "faces: detection alone": ({"facial-recognition": {"detection": NAME}}, 400, "needs recognition"),
    "E16 ocr: recognition alone": ({"ocr": {"recognition": NAME}}, 400, "needs detection"),
    "E18 picture to a textual model": (QUERY, 400, "Send a text part"),
    "E19 nothing asked": ({}, 422, "No model task requested"),
    "task without types": ({"clip": {}}, 422, "clip asks for nothing"),
    "E4 task null beside another": ({"clip": None, **OCR}, 422, "clip asks for nothing"),
    "task without types beside another": ({"clip": {}, **OCR}, 422, "clip asks for nothing"),
    "E7 model null beside another": ({"clip": {"visual": None}, **OCR}, 422, "clip asks for nothing"),
    "E7 one model null": (
        {"facial-recognition": {"detection": NAME, "recognition": None}, **OCR},
        422,
        "facial-recognition asks for nothing",
    ),
    "a key twice, null at last": (
        '{"clip":{"visual":{"modelName":"x"}},"clip":null,"ocr":{"detection":{"modelName":"x"},'
        '"recognition":{"modelName":"x"}}}',
        422,
        "clip asks for nothing",
    ),
    "endless entries": ({f"task {i}": 1 for i in range(9000)}, 422, "more than 65,536 characters"),
    "an endless name": (
        {"clip": {"visual": {"modelName": "x" * 30000 + "/RN50__openai"}}},
        400,
        "asks for RN50__openai",
    ),
    "visual and textual at once": ({"clip": {"visual": NAME, "textual": NAME}}, 422, "not for both"),
    "E10 another width": ({"clip": {"visual": {"modelName": "ViT-B-16-SigLIP__webli"}}}, 400, "ViT-B-32__openai"),
}
SCORES: tuple[Any, ...] = ("0.5", True, None, [], -0.1, 1.1)
for score in SCORES:
    detection = {"modelName": "x", "options": {"minScore": score}}
    REFUSED[f"E22 minScore {score!r}"] = (
        {"facial-recognition": {"detection": detection, "recognition": NAME}},
        422,
        "facial-recognition.detection.options.minScore",
    )
for resolution in ("736", 0, -5, True):
    detection = {"modelName": "x", "options": {"maxResolution": resolution}}
    REFUSED[f"E22 maxResolution {resolution!r}"] = (
        {"ocr": {"detection": detection, "recognition": NAME}},
        422,
        "ocr.detection.options.maxResolution",
    )


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_why(client: httpx.Client, case: str) -> None:
    entries, status, words = REFUSED[case]
    answer = ask(client, entries)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert ask(client, CLIP).status_code == 200, "E24: it keeps serving"


def test_e1_no_entries(client: httpx.Client) -> None:
    answer = client.post("/predict", files={"image": ("blob", PHOTO)})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "entries"]


@pytest.mark.parametrize("text", [None, ""])
def test_e11_e12_neither_image_nor_text(client: httpx.Client, text: str | None) -> None:
    answer = ask(client, QUERY, image=None, text=text)
    assert (answer.status_code, answer.json()) == (400, {"detail": "Either image or text must be provided."})


@pytest.mark.parametrize("data", [b"not a picture", b"", PHOTO[:-300]], ids=["E13", "E14", "E15"])
@pytest.mark.parametrize("entries", [CLIP, FACES, OCR], ids=["clip", "faces", "ocr"])
def test_e13_e14_e15_no_whole_picture(client: httpx.Client, entries: Any, data: bytes) -> None:
    answer = ask(client, entries, data)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("entries", [CLIP, FACES, OCR], ids=["clip", "faces", "ocr"])
def test_e17_text_for_a_visual_model(client: httpx.Client, entries: Any) -> None:
    answer = search(client, "a cat", entries)
    assert answer.status_code == 400
    assert "Send an image part" in answer.json()["detail"]


def test_e20_a_json_body(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"entries": CLIP})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "entries"]


def test_e21_broken_forms(client: httpx.Client) -> None:
    no_boundary = raw(client, form_body("b", [ENTRIES_PART, IMAGE_PART]), "multipart/form-data")
    empty = raw(client, b"--b--\r\n", "multipart/form-data; boundary=b")
    cut = raw(client, form_body("b", [ENTRIES_PART, IMAGE_PART])[:-40], "multipart/form-data; boundary=b")
    assert no_boundary.status_code == 400
    assert empty.status_code == 422
    assert 400 <= cut.status_code < 500
    assert all(answer.json()["detail"] for answer in (no_boundary, empty, cut))
    assert "before its closing boundary" in cut.json()["detail"]


def test_a_picture_as_a_text_field_is_refused(client: httpx.Client) -> None:
    answer = client.post("/predict", data={"entries": json.dumps(CLIP), "image": "x"})
    assert answer.status_code == 422
    assert "file part" in answer.json()["detail"]


def test_an_epilogue_is_legal(client: httpx.Client) -> None:
    body = form_body("b", [ENTRIES_PART, IMAGE_PART]) + b"epilogue " * 200
    assert raw(client, body, "multipart/form-data; boundary=b").status_code == 200
    assert raw(client, body, "multipart/form-data; boundary=b", chunked=True).status_code == 200


@pytest.mark.parametrize("part", [ENTRIES_PART, IMAGE_PART], ids=["entries", "image"])
def test_a_field_twice_is_refused(client: httpx.Client, part: tuple[str, bytes]) -> None:
    answer = raw(client, form_body("b", [ENTRIES_PART, IMAGE_PART, part]), "multipart/form-data; boundary=b")
    assert answer.status_code == 422
    assert "more than one field" in answer.json()["detail"]


def test_a_cut_form_is_never_answered_with_200(client: httpx.Client) -> None:
    body = form_body("b", [ENTRIES_PART, IMAGE_PART])
    for end in range(0, len(body) - 8, 97):
        assert raw(client, body[:end], "multipart/form-data; boundary=b").status_code >= 400


# -------------------------------------------------------------- P: at a time


def test_p1_p2_p3_p5_eight_at_a_time_without_mix_ups() -> None:
    tasks = FakeTasks(delay=0.3)
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        photos = [picture(seed) for seed in range(8)]
        alone = [ask(client, CLIP, photo).json()["clip"] for photo in photos]
        with ThreadPoolExecutor(9) as pool:
            pictures = [pool.submit(ask, client, CLIP, photo) for photo in photos]
            query = pool.submit(search, client, "a cat")
            pings = [client.get("/ping") for _ in range(10)]
            assert [p.result().json()["clip"] for p in pictures] == alone
            assert query.result().status_code == 200
        assert all(ping.status_code == 200 and ping.elapsed.total_seconds() < 2 for ping in pings), "Immich's limit"
        assert tasks.most_running >= 8, "they run at the same time"


@pytest.mark.parametrize("padding", [0, 2**20], ids=["small", "large"])  # uvicorn stops reading when much has come
def test_clients_that_hang_up_are_dropped(padding: int) -> None:
    tasks = FakeTasks(delay=30)
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        body = form_body("b", [ENTRIES_PART, IMAGE_PART, ('name="unknown"', bytes(padding))])
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        for share in (len(body), 300):  # after the whole request, and in the middle of it
            with socket.create_connection((host, port)) as connection:
                connection.sendall(head.encode() + body[:share])
                time.sleep(0.3)
        deadline = time.monotonic() + 5
        while (tasks.running or not tasks.cancelled) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tasks.running, tasks.cancelled, tasks.finished) == (0, 1, 0)
        assert client.get("/ping").status_code == 200


def test_threads_return_to_where_they_were() -> None:
    tasks = FakeTasks()
    before = threading.active_count()
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        for _ in range(20):
            assert ask(client, CLIP).status_code == 200
    assert threading.active_count() <= before
