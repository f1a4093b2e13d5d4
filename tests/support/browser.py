"""A real browser for the page: the system's Chromium and its driver. CI installs them by apt."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from debian import program
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE, DESKTOP = (360, 740), (1280, 900)
THEMES = ("light", "dark")


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Headless, with a profile of its own, which goes with it."""
    driver = program("chromium-driver", "chromedriver", folder="/usr/lib/chromium-browser")
    browser = program("chromium", *NAMES)
    options = ChromeOptions()
    options.binary_location = browser
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    for argument in [*arguments, *(["--no-sandbox"] if os.getuid() == 0 else [])]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        chrome.set_script_timeout(30)
        yield chrome
    finally:
        chrome.quit()


def look(chrome: Chrome, url: str, size: tuple[int, int] = DESKTOP, theme: str = "light") -> None:
    """Opens a page, as a screen of this size and theme shows it, without motion."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    set_theme(chrome, theme)
    chrome.get(url)


def set_theme(chrome: Chrome, theme: str) -> None:
    """Without motion, so that a page is in the theme at once."""
    wanted = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def whole_page(chrome: Chrome) -> bytes:
    """A PNG of the page from top to bottom."""
    width, height = chrome.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    picture: bytes = chrome.get_screenshot_as_png()
    return picture


def faults(chrome: Chrome) -> Sequence[str]:
    """What axe-core finds that is serious or critical: rule, help, and the elements."""
    if not chrome.execute_script("return 'axe' in window"):
        spec = find_spec("axe_selenium_python")
        assert spec is not None
        assert spec.origin is not None
        script = Path(spec.origin).parent / "node_modules/axe-core/axe.min.js"
        chrome.execute_script(script.read_text(encoding="utf-8"))
    found: dict[str, Any] = chrome.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(arguments[0], (e) => arguments[0]({error: String(e)}))"
    )
    assert "error" not in found, found["error"]
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
