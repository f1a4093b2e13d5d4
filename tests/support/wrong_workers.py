"""Workers that answer wrongly, and which assertions of tests/test.sh each of them has to fail."""

from collections.abc import Callable

from fake_worker import Answer, Asked, FakeWorker, text_of, vector

Twist = Callable[[Asked, Answer], Answer]


def is_blank(asked: Asked) -> bool:
    return asked.image is not None and asked.image.startswith(b"\x89PNG")


def errors_as_success(asked: Asked, answer: Answer) -> Answer:
    status, content = answer
    return (200, {"imageWidth": 1920, "imageHeight": 1440}) if status >= 400 else (status, content)


def errors_without_words(asked: Asked, answer: Answer) -> Answer:
    status, content = answer
    return (status, {"detail": ""}) if status >= 400 else (status, content)


def arrays_for_strings(asked: Asked, answer: Answer) -> Answer:
    """Short ones: the script reads them number by number."""
    status, content = answer
    if status == 200 and asked.path == "/predict":
        if "clip" in content:
            content["clip"] = vector("x", 8)
        for n, face in enumerate(content.get("facial-recognition", [])):
            face["embedding"] = vector(str(n), 8)
        if "ocr" in content:
            content["ocr"]["text"] = " ".join(content["ocr"]["text"])
    return status, {"": "Immich", "ping": '"pong"', "status": {"ready": False}}.get(asked.path[1:], content)


def wrong_numbers(asked: Asked, answer: Answer) -> Answer:
    """One number short, pixels for 0..1 and the other way round, scores above 1, sizes as text."""
    status, content = answer
    if status == 200 and asked.path == "/predict":
        if "clip" in content:
            content["clip"] = text_of(vector("x", 511))
        for face in content.get("facial-recognition", []):
            face["boundingBox"] = {side: n / 1920 for side, n in face["boundingBox"].items()}
            face["embedding"] = text_of([0.0] * 512)
            face["score"] = 1.5
        if "ocr" in content:
            content["ocr"]["box"] = [n * 1920 for n in content["ocr"]["box"]]
            content["ocr"]["textScore"] = [n * 100 for n in content["ocr"]["textScore"]]
        if asked.image is not None:
            content["imageWidth"] = str(content["imageWidth"]) + "px"
        else:
            content["imageWidth"] = 1920
    return status, content


def wrong_shapes(asked: Asked, answer: Answer) -> Answer:
    """Vectors of another length, boxes with a fraction, corners from elsewhere, blank texts."""
    status, content = answer
    if status == 200 and asked.path == "/predict":
        if "clip" in content:
            content["clip"] = text_of(vector("x", 512, 1.1))
        for face in content.get("facial-recognition", []):
            face["boundingBox"]["x1"] += 0.3
            face["embedding"] = text_of(vector("the same", 512))
            face["score"] = 0.6
        if "ocr" in content:
            box = content["ocr"]["box"]
            content["ocr"]["box"] = [c for n in range(0, len(box), 8) for c in (*box[n + 2 : n + 8], *box[n : n + 2])]
            content["ocr"]["text"] = [" "] * len(content["ocr"]["text"])
            content["ocr"]["boxScore"] = [0.3] * len(content["ocr"]["text"])
        if asked.image is not None:
            content["imageWidth"], content["imageHeight"] = content["imageHeight"], content["imageWidth"]
    return status, content


def invented(asked: Asked, answer: Answer) -> Answer:
    """The same vector for everything, NaN, thresholds ignored, finds in a blank picture, arrays cut short."""
    status, content = answer
    if status == 200 and asked.path == "/predict":
        if asked.text:
            content["clip"] = text_of(vector("always", 512))
        elif "clip" in content:
            content["clip"] = (
                content["clip"].replace("0.", "NaN", 1) if is_blank(asked) else text_of(vector("always", 512))
            )
        if "facial-recognition" in content:
            _, full = FakeWorker().answer(Asked("POST", "/predict", {"facial-recognition": FACES}, b"\xff\xd8"))
            content["facial-recognition"] = full["facial-recognition"] * 2
        if "ocr" in content:
            _, full = FakeWorker().answer(Asked("POST", "/predict", {"ocr": TEXT}, b"\xff\xd8"))
            content["ocr"] = {**full["ocr"], "text": [*full["ocr"]["text"][:-1], "Cal 555-O142"]}
            if is_blank(asked):
                del content["ocr"]["text"]
    return status, content


FACES = {"detection": {"modelName": "x"}, "recognition": {"modelName": "x"}}
TEXT = {"detection": {"modelName": "x"}, "recognition": {"modelName": "x", "options": {"minScore": 0.1}}}


class Restless:
    """Answers every request with a vector of its own, leaves lines out, and loses /ping in the end."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, asked: Asked, answer: Answer) -> Answer:
        status, content = answer
        self.requests += 1
        if asked.path == "/ping" and self.requests > 1:
            return 503, {"detail": "loading"}
        if status == 200 and "clip" in content:
            content["clip"] = text_of(vector(str(self.requests), 512))
        if status == 200 and "ocr" in content:
            content["ocr"]["boxScore"].append(0.9)
        return status, content


class Slow:
    """/ping waits while a request with several tasks is answered."""

    def __init__(self) -> None:
        self.pings = 0

    def __call__(self, asked: Asked, answer: Answer) -> Answer:
        self.pings += asked.path == "/ping"
        return (200, 2.2) if asked.path == "/ping" and self.pings == 2 else answer


def both(first: Twist, second: Twist) -> Twist:
    return lambda asked, answer: second(asked, first(asked, answer))


ERRORS = r"[45]\d\d |an unknown path|GET /predict"
# What each wrong worker must be caught at: a pattern for the names of the assertions that fail; no other does.
WRONG: dict[str, tuple[Twist, str]] = {
    "arrays for strings": (
        arrays_for_strings,
        r"GET /($|status| )|GET /(ping )?(still )?answers|answers /ping|clip.visual (?!says)|clip.textual (?!carries)"
        r"|faces: embeddings|ocr: (?!coord|corners|says)|all the tasks|still serves",
    ),
    "wrong numbers": (
        wrong_numbers,
        r"clip.* (holds|is of|says|takes|tells|carries|ignores)|faces: (?!finds|none)|ocr: (?!text|reads|none)"
        r"|all the tasks|still serves",
    ),
    "wrong shapes, slow, errors as success": (
        both(wrong_shapes, both(errors_as_success, Slow())),
        r"clip.* (is of|says|tells)|clip.textual takes|faces: (boxes|embeddings|scores|says)"
        rf"|ocr: (corners|texts|reads|scores|says)|answers /ping|{ERRORS}",
    ),
    "invented, errors without words": (
        both(invented, errors_without_words),
        r"clip.* tells|clip.textual takes|faces: (finds|embeddings|a higher|none)|ocr: (reads|a higher|none)"
        rf"|{ERRORS}",
    ),
    "restless": (
        Restless(),
        r"clip.visual takes|clip.textual ignores|ocr: (text,|a higher|none)|all the tasks|still serves"
        r"|answers /ping|GET /ping still",
    ),
}
