"""Who gets the page and who JSON, what the page's answer allows, and who may try photos on it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, QUERY, ask

from ml_target.api.page.asked import at_home, prefers_html, refuse_other_sites
from ml_target.api.page.document import HERE, SCRIPTS, build
from ml_target.config import Settings
from ml_target.errors import AnotherSite

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
PROGRAMS = [
    "",
    "*/*",
    "application/json",
    "application/json, text/plain, */*",
    "text/html;q=0.3, application/json",
    "text/html;q=0",
]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(lambda _: fake_services(FakeTasks(), off=("ocr",))) as (client, worker):
        while worker.state == "loading":
            client.get("/ping")
        yield client


@pytest.mark.parametrize("accept", [CHROME, "text/html", "TEXT/HTML; q=0.5", "application/json;q=0.2, text/html;q=0.9"])
def test_browsers_prefer_html(accept: str) -> None:
    assert prefers_html(accept)


@pytest.mark.parametrize("accept", [*PROGRAMS, "text/html;q=much", "text/*"])
def test_programs_do_not(accept: str) -> None:
    assert not prefers_html(accept)


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, ""),
        ({"sec-fetch-mode": "cors"}, ""),  # as Immich's server sends it
        ({"host": "ml.example.org"}, ""),  # Immich again, through a proxy: no browser
        ({"sec-fetch-site": "same-origin", "origin": "https://ml.lan", "host": "inside:3003"}, ""),  # behind a proxy
        ({"sec-fetch-site": "cross-site", "host": "ml.lan:3003"}, "another site's page"),
        ({"sec-fetch-site": "same-site", "host": "ml.lan:3003"}, "another site's page"),
        ({"sec-fetch-site": "same-site", "origin": "http://ml.lan", "host": "ml.lan"}, "another site's page"),
        ({"origin": "http://ML.lan:3003", "host": "ml.lan:3003"}, ""),
        ({"origin": "http://ml.lan", "host": "ml.lan"}, ""),
        ({"origin": "http://ml.lan:8080", "host": "ml.lan:3003"}, "another site's page"),
        ({"origin": "http://evil.example", "host": "ml.lan:3003"}, "another site's page"),
        ({"origin": "http://ml.lan:3003.evil.example", "host": "ml.lan:3003"}, "another site's page"),
        ({"origin": "null", "host": "ml.lan:3003"}, "another site's page"),
        ({"origin": "", "host": ""}, "another site's page"),
        ({"origin": "http://[::1", "host": "ml.lan:3003"}, "another site's page"),
        ({"origin": "http://me@ml.lan:3003", "host": "ml.lan:3003"}, "another site's page"),
        # DNS rebinding: a stranger's name leads here, so that the page's address is the one asked.
        ({"origin": "http://evil.example:3003", "host": "evil.example:3003"}, "by a name on the internet"),
        ({"origin": "http://evil.example", "host": "evil.example"}, "by a name on the internet"),
        ({"origin": "https://ml.example.org", "host": "ml.example.org"}, ""),
    ],
)
def test_another_sites_page_is_told_from_ours(headers: dict[str, str], refusal: str) -> None:
    if not refusal:
        refuse_other_sites(headers)
        return
    with pytest.raises(AnotherSite, match=refusal):
        refuse_other_sites(headers)


@pytest.mark.parametrize(
    ("address", "home"),
    [
        *((name, True) for name in ("192.168.1.10:3003", "[fd00::7]:3003", "[::1]", "localhost:3003", "nas:3003")),
        *((name, True) for name in ("nas", "nas.", "nas.local", "a.b.home.arpa:3003", "ml.lan.:80", "ml.internal")),
        *((name, False) for name in ("evil.example", "evil.example.:3003", "evillan.org", "lan.evil.example:3003")),
        *((name, False) for name in ("192.168.1.10.evil.example", "1.2.3:3003", "notlocal.xlan")),
    ],
)
def test_a_name_that_no_stranger_can_have(address: str, home: bool) -> None:
    assert at_home(address) is home


@pytest.mark.parametrize("name", ["ml.example.org", "ML.example.org:3003", "ml.example.org.", "other.example:80"])
def test_an_own_name_on_the_internet_is_at_home_by_a_setting(name: str) -> None:
    own = Settings.from_environment({"PAGE_HOSTS": "ml.example.org,other.example"}).page_hosts
    headers = {"origin": f"http://{name}", "host": name}
    refuse_other_sites(headers, own)
    with pytest.raises(AnotherSite, match=r"If the name is yours, set PAGE_HOSTS=(ml\.example\.org|other\.example)\.$"):
        refuse_other_sites(headers)
    for other in (f"evil.{name}", f"{name.partition(':')[0]}.evil.example", "example.org"):
        with pytest.raises(AnotherSite):
            refuse_other_sites({"origin": f"http://{other}", "host": other}, own)


@pytest.mark.parametrize("accept", PROGRAMS)
def test_programs_get_json(client: httpx.Client, accept: str) -> None:
    root, status = (client.get(path, headers={"Accept": accept}) for path in ("/", "/status"))
    assert root.json() == {"message": "Immich ML"}
    assert {"version", "state", "ready", "engine", "uptime_s", "tasks", "clip", "ocr", "names", "devices"} == set(
        status.json()
    )
    assert root.headers["vary"] == status.headers["vary"] == "Accept"


def test_a_browser_gets_the_page(client: httpx.Client) -> None:
    headers = {"Accept": CHROME}
    to = client.get("/", headers=headers)
    assert (to.status_code, to.headers["location"], to.headers["vary"]) == (302, "status", "Accept")
    page = client.get("/status", headers=headers)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    again = client.get("/status", headers={**headers, "If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("accept", [CHROME, "*/*"])
@pytest.mark.parametrize("path", ["/", "/status"])
def test_head_is_get_without_the_body(client: httpx.Client, path: str, accept: str) -> None:
    head, get = (client.request(method, path, headers={"Accept": accept}) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers.get("content-type") == get.headers.get("content-type")


def test_the_policy_lets_nothing_else_in(client: httpx.Client) -> None:
    page = client.get("/status", headers={"Accept": CHROME})
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", policy["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", policy["style-src"])
    assert (page.headers["x-content-type-options"], page.headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert not [name for name in page.headers if name.startswith("access-control-")]


def test_the_page_is_one_document_that_loads_nothing() -> None:
    html = build().html.decode()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", html)
    assert not re.findall(r"@import|url\(", html)
    assert html.count("<script") == html.count("<style") == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_data_never_becomes_markup(name: str) -> None:
    script = (HERE / name).read_text(encoding="utf-8")
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\.style\b", script
    )
    assert "</script" not in script


def test_the_overview_tells_what_is_off_and_what_to_do(client: httpx.Client) -> None:
    ask(client, QUERY, image=None, text="a dog")
    page = client.get("/status/page").json()
    off = next(task for task in page["tasks"] if task["name"] == "ocr")
    assert (off["on"], off["why"], off["remedy"]) == (False, "no such file", "Put it into the models folder.")
    assert {"field": "Facial recognition", "value": "buffalo_l", "note": ""} in page["immich"]
    seen = {name["asked"]: name for name in page["names"]}
    assert seen["ViT-B-32__openai"]["fits"]
    assert page["try_it"] is True


def test_a_name_that_is_not_the_one_to_choose(client: httpx.Client) -> None:
    other = json.loads(json.dumps(FACES).replace("buffalo_l", "antelopev2"))
    assert ask(client, other).status_code == 200
    name = next(name for name in client.get("/status/page").json()["names"] if name["asked"] == "antelopev2")
    assert (name["fits"], name["choose"]) == (False, ["buffalo_l"])


def test_names_of_the_same_model_fit(client: httpx.Client) -> None:
    """Of a text model there are several, which Immich offers by language."""
    settings = Settings(engine="cpu")
    with live(lambda _: fake_services(FakeTasks()), settings) as (other, worker):
        while worker.state == "loading":
            other.get("/ping")
        for asked in ("EN__PP-OCRv5_mobile", "PP-OCRv5_mobile"):
            assert ask(other, json.loads(json.dumps(OCR).replace("PP-OCRv5_mobile", asked))).status_code == 200
        assert [name["fits"] for name in other.get("/status/page").json()["names"]] == [True, True]


def test_a_name_that_is_refused_stands_there_with_the_remedy(client: httpx.Client) -> None:
    assert ask(client, json.loads(json.dumps(CLIP).replace("ViT-B-32__openai", "ViT-L-14__openai"))).status_code == 400
    name = next(name for name in client.get("/status/page").json()["names"] if name["asked"] == "ViT-L-14__openai")
    assert (name["task"], name["fits"]) == ("clip.visual", False)
    assert "have 768 numbers" in name["why"]
    assert "Choose ViT-B-32__openai" in name["why"]


# ------------------------------------------------------------------- /try


def post(client: httpx.Client, path: str, headers: dict[str, str], entries: Any = FACES) -> httpx.Response:
    form = {"entries": json.dumps(entries)}
    return client.post(path, data=form, files={"image": ("a.jpg", picture())}, headers=headers)


def try_it(client: httpx.Client, entries: Any = FACES) -> httpx.Response:
    return post(client, "/try", {}, entries)


def test_it_answers_as_predict_does_and_with_landmarks(client: httpx.Client) -> None:
    tried, asked = try_it(client), ask(client, FACES, picture())
    assert tried.status_code == 200
    assert {"server-timing", "x-request-id"} <= set(tried.headers)
    faces = tried.json()["facial-recognition"]
    assert [face.pop("landmarks") for face in faces] == [[[0.0, 0.0]] * 5] * 2
    assert faces == asked.json()["facial-recognition"]


@pytest.mark.parametrize("path", ["/try", "/predict"])
def test_another_site_is_refused_and_our_page_is_not(client: httpx.Client, path: str) -> None:
    ours = f"http://{client.base_url.netloc.decode()}"
    assert post(client, path, {"Origin": ours}).status_code == 200
    assert post(client, path, {"Host": "ml.example.org"}).status_code == 200, "a program may use any name"
    rebound = {"Origin": "http://evil.example:3003", "Host": "evil.example:3003"}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": ours, "Sec-Fetch-Site": "cross-site"}, rebound):
        refused = post(client, path, headers)
        assert refused.status_code == 403
        assert "another site" in refused.json()["detail"]
        assert not [name for name in refused.headers if name.startswith("access-control-")]
        assert client.get("/status/live").json()["last"][0]["reason"] == "another_site"
    assert "If the name is yours, set PAGE_HOSTS=evil.example." in refused.json()["detail"]


def test_a_task_that_is_off_says_so(client: httpx.Client) -> None:
    refused = try_it(client, entries=OCR)
    assert (refused.status_code, refused.json()["detail"]) == (
        503,
        "ocr is off: no such file. Put it into the models folder.",
    )


def test_it_can_be_turned_off() -> None:
    settings = Settings(engine="cpu", try_it="off")
    with live(lambda _: fake_services(FakeTasks()), settings) as (client, worker):
        while worker.state == "loading":
            client.get("/ping")
        refused = try_it(client)
        assert (refused.status_code, "TRY_IT=on" in refused.json()["detail"]) == (403, True)
        assert "server-timing" in refused.headers, "as the description has it"
        assert client.get("/status/page").json()["try_it"] is False
        assert ask(client, FACES, picture()).status_code == 200
