"""The page in a real browser, on a worker with a simulated card and on one with tasks off and hostile names."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hailo_sim import Rig
from hailo_worker import Running, mixed, models_folder, running, wait_until
from project import TESTS
from serving import FakeTasks, fake_services, live
from wire import OCR, ask

pytest.importorskip("selenium")

from browser import DESKTOP, PHONE, THEMES, chromium, faults, look, set_theme
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

pytestmark = [
    pytest.mark.slow,
    # Selenium leaves pipes and sockets to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PICTURE = TESTS / "test.jpg"
HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def card(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Small networks: four tasks, three faces and two lines of text in every picture."""
    models = models_folder(wheel_models, tmp_path_factory.mktemp("page"))
    with running(Rig(clock=4.0), models) as served:
        served.alone(mixed(2))
        yield served


@pytest.fixture(scope="module")
def partly() -> Iterator[httpx.Client]:
    """A worker whose text task is off, and that was asked for a model with a hostile name."""
    with live(lambda _: fake_services(FakeTasks(), off=("ocr",))) as (client, worker):
        wait_until(lambda: worker.state != "loading")
        entries = {"facial-recognition": {part: {"modelName": HOSTILE} for part in ("detection", "recognition")}}
        assert ask(client, entries).status_code == 200
        ask(client, OCR)
        yield client


def url(client: httpx.Client) -> str:
    return str(client.base_url.join("/status"))


def by_id(chrome: Chrome, name: str) -> WebElement:
    return chrome.find_element(By.ID, name)


def text(chrome: Chrome, name: str) -> str:
    return by_id(chrome, name).text


def until(true: Callable[[], Any]) -> None:
    wait_until(lambda: bool(true()), 20)


def ask_anew(chrome: Chrome) -> None:
    """As the page does by itself a few seconds later."""
    chrome.execute_script("refresh()")


def opened(chrome: Chrome, client: httpx.Client, size: tuple[int, int] = DESKTOP) -> None:
    complaints(chrome)  # of the pages before are forgotten
    look(chrome, url(client), size)
    until(lambda: chrome.find_elements(By.CSS_SELECTOR, "[data-task]"))


def complaints(chrome: Chrome) -> list[str]:
    """What the browser's console says: errors of scripts, refusals of the policy, what could not be loaded."""
    lines = cast(Any, chrome).get_log("browser")
    return [line["message"] for line in lines if line["level"] in ("SEVERE", "WARNING")]


def choose(chrome: Chrome, *files: Path) -> None:
    by_id(chrome, "photos").send_keys("\n".join(map(str, files)))
    until(lambda: not text(chrome, "try-said").endswith("…"))


# -------------------------------------------------------------------- looks


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_is_readable_and_accessible(chrome: Chrome, card: Running, size: tuple[int, int]) -> None:
    opened(chrome, card.client, size)
    assert text(chrome, "state") == "Ready"
    assert "4 of 4 tasks on, running on the Hailo-8 card" in text(chrome, "sentence")
    wide, window = chrome.execute_script("return ['scrollWidth', 'clientWidth'].map(n => document.documentElement[n])")
    assert wide == window, "nothing sticks out to the side"
    if size == PHONE:
        smallest = chrome.execute_script(
            "return Math.min(...[...document.querySelectorAll('main *')].filter(e => e.innerText)"
            ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert smallest >= 12
    choose(chrome, PICTURE)
    until(lambda: by_id(chrome, "answer").is_displayed())
    for theme in THEMES:
        set_theme(chrome, theme)
        background = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
        level = sum(int(n) for n in background.strip("rgb()").split(",")) / 3
        assert (level < 80) if theme == "dark" else (level > 200)
        assert faults(chrome) == [], theme
    assert complaints(chrome) == []


def test_graphs_say_in_words_what_they_show(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    labels = [each.get_attribute("aria-label") for each in chrome.find_elements(By.CSS_SELECTOR, "svg[role=img]")]
    assert any(str(label).startswith("Faces: ") for label in labels)
    assert any(str(label).startswith("How busy the card was: ") for label in labels)
    assert all(labels)
    stages = [re.findall(r"([a-z]+) [\d.,]+ m?s", str(each)) for each in labels if "time by stage: " in str(each)]
    assert len(stages) == 4
    assert all(len(set(names)) == len(names) > 1 for names in stages), "one name, one stage"


def show_busy_at_first(chrome: Chrome, card: Running) -> dict[str, Any]:
    """Figures of ten faces a step for five minutes, then none; the page asks for no others any more."""
    until(lambda: chrome.execute_script("return !asking && (clearTimeout(timer), true)"))
    live: dict[str, Any] = card.client.get("/status/live").json()
    half = live["steps"] // 2
    live["tasks"]["facial-recognition"]["done"] = [10] * half + [0] * half
    chrome.execute_script("showLive(arguments[0])", live)
    return live


def faces_read_out(chrome: Chrome) -> str:
    charts = chrome.find_elements(By.CSS_SELECTOR, "#pace .chart")
    return next(each.find_element(By.CSS_SELECTOR, ".value").text for each in charts if each.text.startswith("Faces"))


def test_a_graph_is_read_with_the_pointer(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    show_busy_at_first(chrome, card)
    assert faces_read_out(chrome) == "0 a second"
    graph = chrome.find_element(By.CSS_SELECTOR, "#pace .graph")
    quarter = round(graph.rect["width"] / 4)
    ActionChains(chrome).move_to_element_with_offset(graph, -quarter, 0).perform()
    assert faces_read_out(chrome) == "2 a second"
    assert re.match(r"at \d\d:\d\d:\d\d", when := text(chrome, "when"))
    assert all(each.text.endswith(when) for each in chrome.find_elements(By.CSS_SELECTOR, ".network > p"))
    ActionChains(chrome).move_to_element_with_offset(graph, quarter, 0).perform()
    assert faces_read_out(chrome) == "0 a second"
    ActionChains(chrome).move_to_element(by_id(chrome, "lately-title")).perform()
    assert text(chrome, "when") == "now"


def test_a_graph_is_read_by_keyboard(chrome: Chrome, card: Running) -> None:
    """One slider for all graphs: a screen reader is told the moment and the paces."""
    opened(chrome, card.client)
    live = show_busy_at_first(chrome, card)
    slider = by_id(chrome, "moment")
    assert "now: " in str(slider.get_attribute("aria-valuetext"))
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert slider.get_attribute("value") == "1"
    assert faces_read_out(chrome) == "2 a second"
    said = slider.get_attribute("aria-valuetext")
    assert re.match(r"\d\d:\d\d:\d\d: .*Faces 2 a second", str(said))
    live["tasks"]["facial-recognition"]["done"][-1] = 5
    chrome.execute_script("showLive(arguments[0])", {**live, "now": live["now"] + 5})
    assert faces_read_out(chrome) == "2 a second", "it stays when graphs are drawn anew"
    assert slider.get_attribute("aria-valuetext") == said, "and says nothing by itself"
    assert faults(chrome) == []
    slider.send_keys(Keys.END)
    assert (faces_read_out(chrome), text(chrome, "when")) == ("0.17 a second", "now")


def test_card_and_immich(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    device, immich = (text(chrome, part).replace("\n", " ") for part in ("devices", "immich"))
    for words in ("the Hailo-8 card in use", "chip Hailo-8", "firmware 4.23.0", "temperature 53 °C", "power 2.1 W"):
        assert words in device
    assert "ViT-B-32__openai" in immich
    assert "buffalo_l Faces fits" in immich
    for here, told in (("http://nas:3003/status", "http://nas:3003"), ("https://ml.lan/a/status", "https://ml.lan/a/")):
        found = chrome.execute_script("return ownAddress({ field: 'URL' }, new URL(arguments[0]))", here)
        assert found == {"field": "URL", "value": told, "note": ""}, "Immich keeps a path"
    last = chrome.find_elements(By.CSS_SELECTOR, "#requests tbody tr")
    assert len(last) == len(mixed(2))
    assert all("answered" in each.text for each in last)


def test_a_task_that_the_page_has_no_words_for_goes_by_its_name_on_the_wire(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    page = card.client.get("/status/page").json()
    made_up = {**page["tasks"][0], "name": "colours", "label": "colours", "served_by": "three numbers", "on": True}
    chrome.execute_script("showTasks(arguments[0])", {**page, "tasks": [made_up]})
    assert text(chrome, "tasks").split("\n") == ["colours", "On", "three numbers"]


def test_nothing_is_asked_while_nobody_looks(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    asked = "return performance.getEntriesByType('resource').length"
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); "
    before = chrome.execute_script(asked)
    chrome.execute_script(hide % "true" + "document.dispatchEvent(new Event('visibilitychange'))")
    assert chrome.execute_script("return timer === null || document.hidden")
    ask_anew(chrome)
    assert chrome.execute_script(asked) == before
    chrome.execute_script(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))")
    until(lambda: chrome.execute_script(asked) > before)


# ----------------------------------------------------------------- troubles


def test_a_card_that_is_lost_and_comes_back(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    card.rig.faults.occupy()
    card.rig.faults.abort_device()
    waiting = threading.Thread(target=lambda: mixed(1)[0].send(card.client))
    waiting.start()
    try:
        wait_until(lambda: card.ping() == 503)
        ask_anew(chrome)
        until(lambda: text(chrome, "state") == "Recovering its card")
        assert "Requests wait, and are answered once it is back. 4 of 4 tasks wait for it." in text(chrome, "sentence")
        marks = [each.text for each in chrome.find_elements(By.CSS_SELECTOR, "#tasks .mark")]
        assert marks == ["Waits"] * 4, "neither on nor off"
        assert "being recovered" in text(chrome, "devices")
        assert "the card lost a burst and is being recovered" in text(chrome, "faults")
    finally:
        card.rig.faults.occupy(False)
        waiting.join(60)
    card.wait_ready()
    ask_anew(chrome)
    until(lambda: text(chrome, "state") == "Ready")
    assert "the card was back after" in text(chrome, "faults")


def test_a_task_that_is_off_says_why_and_what_to_do(chrome: Chrome, partly: httpx.Client) -> None:
    opened(chrome, partly)
    assert text(chrome, "state") == "Ready, in part"
    off = chrome.find_element(By.CSS_SELECTOR, "[data-task=ocr]").text
    assert "Off" in off
    assert "no such file" in off
    assert "What to do: Put it into the models folder." in off
    assert "503: the task is off" in text(chrome, "requests")
    live = partly.get("/status/live").json()
    chrome.execute_script("showLive(arguments[0])", {**live, "failures": {"task_off": 3, "late": 0}})
    assert text(chrome, "failures") == "3 the task is off"
    for seconds, words in ((3, "1 photo so far."), (60, "1 photo, 0.10 a second now, 0.25 on average.")):
        run = {"began": live["now"] - seconds, "photos": 1, "requests": 1, "now_per_s": 0.1, "mean_per_s": 0.25}
        chrome.execute_script("showLive(arguments[0])", {**live, "run": run})
        assert f": {words} A photo counts" in text(chrome, "run")
    assert faults(chrome) == []


def test_a_hostile_name_is_only_text(chrome: Chrome, partly: httpx.Client, tmp_path: Path) -> None:
    opened(chrome, partly)
    assert f"{HOSTILE} Faces" in text(chrome, "names")
    many = [{"task": "ocr", "asked": f"{n}", "why": "no", "choose": [], "fits": False} for n in range(100)]
    chrome.execute_script("showImmich({names: arguments[0]})", many)
    assert text(chrome, "names").count("refused") == 10
    assert "90 more" in text(chrome, "names")
    file = tmp_path / f"{HOSTILE}.jpg"
    file.write_bytes(PICTURE.read_bytes())
    choose(chrome, file)
    until(lambda: by_id(chrome, "answer").is_displayed())
    assert HOSTILE in text(chrome, "answer")
    broken = tmp_path / f"{HOSTILE}.png"
    broken.write_bytes(b"nothing")
    choose(chrome, broken)
    until(lambda: HOSTILE in text(chrome, "try-said"))
    assert chrome.execute_script("return window.hacked") is None
    assert not chrome.find_elements(By.CSS_SELECTOR, "img[src=x]")
    injected = "try { document.body.innerHTML = '<img src=x>'; return 'taken' } catch (e) { return e.name }"
    assert chrome.execute_script(injected) == "TypeError", "the browser itself refuses markup"


def test_a_worker_that_has_gone(chrome: Chrome) -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, worker):
        wait_until(lambda: worker.state != "loading")
        opened(chrome, client)
        assert text(chrome, "state") == "Ready"
        chrome.execute_script("showTasks = () => { throw new TypeError('a field of another version'); }")
        ask_anew(chrome)
        until(lambda: text(chrome, "state") == "Reload this page")
    ask_anew(chrome)
    until(lambda: text(chrome, "state") == "No answer")


# ------------------------------------------------------------------- try it


def test_a_photo_with_faces_and_text(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    choose(chrome, PICTURE)
    until(lambda: by_id(chrome, "answer").is_displayed())
    drawn = by_id(chrome, "answer")
    assert len(drawn.find_elements(By.CSS_SELECTOR, ".face")) == 3
    assert len(drawn.find_elements(By.CSS_SELECTOR, ".point")) == 15
    assert (
        len(drawn.find_elements(By.CSS_SELECTOR, ".line"))
        == len(drawn.find_elements(By.CSS_SELECTOR, "[aria-label=Text] li"))
        > 0
    )
    assert "test.jpg, 1440 × 1080" in drawn.text
    assert "Answered in" in drawn.text
    picture, overlay = (drawn.find_element(By.CSS_SELECTOR, each).rect for each in (".shown img", ".shown svg"))
    assert picture == pytest.approx(overlay, abs=1), "boxes lie on the picture"


def test_several_photos_are_ranked_by_a_query(chrome: Chrome, card: Running, tmp_path: Path) -> None:
    opened(chrome, card.client)
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    for file, each in zip(files, mixed(3)[::5], strict=True):
        assert isinstance(each.content, bytes)
        file.write_bytes(each.content)
    choose(chrome, *files)
    until(lambda: len(chrome.find_elements(By.CSS_SELECTOR, "#shelf button")) == 3)
    by_id(chrome, "query").send_keys("a dog on a beach", Keys.ENTER)
    until(lambda: text(chrome, "try-said").startswith("Ranked by likeness to “\u2068a dog on a beach\u2069”"))
    scores = [float(each.text) for each in chrome.find_elements(By.CSS_SELECTOR, "#shelf .score")]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    assert all(-1 <= score <= 1 for score in scores)
    by_id(chrome, "clear").click()
    assert not by_id(chrome, "shelf").is_displayed()


def test_photos_that_are_left_out_are_counted_and_clearing_stops_those_that_still_come(
    chrome: Chrome, card: Running
) -> None:
    opened(chrome, card.client)
    chrome.execute_script("photos = Array.from({length: 59}, () => ({name: 'x', url: null, score: null}))")
    choose(chrome, PICTURE, PICTURE, PICTURE)
    until(lambda: text(chrome, "try-said") == "60 photos are the most: 2 photos left out. Clear some first.")
    assert chrome.execute_script("return photos.length") == 60
    by_id(chrome, "clear").click()
    chrome.execute_script(
        "const real = look; look = (...given) => { clearPhotos(); look = real; return real(...given); }"
    )
    choose(chrome, PICTURE, PICTURE)
    chrome.execute_async_script("taking.then(arguments[0])")
    assert chrome.execute_script("return photos.length") == 0
    assert not by_id(chrome, "shelf").is_displayed()
    folder = "{name: 'folder', slice: () => ({arrayBuffer: () => Promise.reject(new Error('a folder'))})}"
    chrome.execute_async_script(f"take([{folder}]).then(arguments[0])")
    assert "The browser cannot read it" in text(chrome, "try-said")


def test_off_by_a_setting(chrome: Chrome, card: Running) -> None:
    opened(chrome, card.client)
    assert by_id(chrome, "drop").is_displayed()
    page = json.dumps({**httpx.get(f"{url(card.client)}/page", verify=False).json(), "try_it": False})
    chrome.execute_script("showTryIt(JSON.parse(arguments[0]))", page)
    assert not by_id(chrome, "drop").is_displayed()
    assert "TRY_IT=on" in text(chrome, "try")


def test_by_keyboard_alone(chrome: Chrome, card: Running, tmp_path: Path) -> None:
    """Skip link, photos, a query, a photo of the shelf, and the parts of the page: each is reached with Tab."""
    opened(chrome, card.client)

    def press(*keys: str) -> WebElement:
        ActionChains(chrome).send_keys(*keys).perform()
        return chrome.switch_to.active_element

    def tab_to(wanted: str) -> WebElement:
        for _ in range(60):
            at = press(Keys.TAB)
            seen = "const [at, wanted] = arguments; return [getComputedStyle(at).outlineStyle, at.matches(wanted)]"
            outline, there = chrome.execute_script(seen, at, wanted)
            assert outline != "none" or at.get_attribute("id") == "photos", at.get_attribute("outerHTML")
            if there:
                return at
        raise AssertionError(f"{wanted} is not reached")

    assert press(Keys.TAB).text == "Skip to the content"
    assert press(Keys.ENTER).get_attribute("id") == "main"
    tab_to("#photos").send_keys("\n".join(str(PICTURE) for _ in range(2)))
    until(lambda: by_id(chrome, "search").is_displayed())
    until(lambda: not text(chrome, "try-said").endswith("…"))
    tab_to("#query")
    press("a dog", Keys.ENTER)
    until(lambda: "Ranked" in text(chrome, "try-said"))
    tab_to("#shelf button")
    press(Keys.ENTER)
    until(lambda: by_id(chrome, "answer").is_displayed())
    tab_to("#requests summary")
    press(Keys.SPACE)
    until(lambda: chrome.find_elements(By.CSS_SELECTOR, "#requests details[open]"))
    drawn_before = chrome.find_element(By.CSS_SELECTOR, "#requests tbody")
    card.alone(mixed(1)[:1])
    ask_anew(chrome)
    until(lambda: drawn_before != chrome.find_element(By.CSS_SELECTOR, "#requests tbody"))
    at = chrome.switch_to.active_element
    assert (at.tag_name, at.find_element(By.XPATH, "..").get_attribute("open")) == ("summary", "true"), "it stays there"
