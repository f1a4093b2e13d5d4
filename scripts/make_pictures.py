"""Makes docs/page.webp: the page of a running worker, with the test picture tried on it.

    .venv/bin/python scripts/make_pictures.py http://127.0.0.1:3003

Sends the worker photos for a while first, so that there is something to see in its graphs; with --after 0 it does not.
Needs Chromium and its driver (apt-get install chromium-driver). docs/drawn.jpg is made by `ml_target predict --draw`.
"""

import argparse
import io
import json
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

import httpx  # noqa: E402
from browser import THEMES, chromium, look, whole_page  # noqa: E402
from PIL import Image  # noqa: E402
from selenium.webdriver import Chrome  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from wire import CLIP, FACES, OCR, QUERY  # noqa: E402

SIZE = (1280, 900)
MARGIN = 24
MOST_BYTES = 200_000
PHOTO = PROJECT / "tests" / "test.jpg"


def index(url: str, seconds: float) -> None:
    """Asks as Immich does while it indexes, with pauses, so that the graphs have hills."""
    photo, end, number = PHOTO.read_bytes(), time.monotonic() + seconds, 0
    with httpx.Client(base_url=url, timeout=120) as client:
        while time.monotonic() < end:
            for entries in (CLIP, FACES, OCR)[: 1 + number % 3]:
                form = {"entries": json.dumps(entries)}
                client.post("/predict", data=form, files={"image": ("blob", photo)}).raise_for_status()
            if number % 4 == 0:
                client.post("/predict", data={"entries": json.dumps(QUERY), "text": "harbour"}).raise_for_status()
            number += 1
            time.sleep(0.4 if number % 40 < 25 else 1.5)


def shot(chrome: Chrome, url: str, theme: str, whole: bool) -> Image.Image:
    """The page down to the end of its graphs, or with --all to its end, with the test picture and its answer."""
    look(chrome, f"{url}/status", SIZE, theme)
    end = time.monotonic() + 60
    time.sleep(1)
    chrome.find_element(By.ID, "photos").send_keys(str(PHOTO))
    while not chrome.find_element(By.ID, "answer").is_displayed():
        if time.monotonic() > end:
            raise SystemExit(f"no answer: {chrome.find_element(By.ID, 'try-said').text}")
        time.sleep(0.2)
    chrome.execute_script("document.activeElement.blur()")
    page = Image.open(io.BytesIO(whole_page(chrome)))
    cut = chrome.execute_script("return document.querySelector('#lately').getBoundingClientRect().bottom + scrollY")
    return page if whole else page.crop((0, 0, page.width, round(cut) + MARGIN))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of a running worker")
    parser.add_argument("--after", type=float, default=300, help="seconds of photos before (default: %(default)g)")
    parser.add_argument("--to", type=Path, default=PROJECT / "docs" / "page.webp", help="(default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="down to the end of the page, not of its graphs alone")
    parser.add_argument("--theme", choices=THEMES, default="light")
    chosen = parser.parse_args()
    url = chosen.url.rstrip("/")
    index(url, chosen.after)
    with chromium() as chrome:
        page = shot(chrome, url, chosen.theme, chosen.all)
    page.convert("RGB").save(chosen.to, quality=82, method=6)
    if (size := chosen.to.stat().st_size) > MOST_BYTES:
        raise SystemExit(f"{chosen.to} has {size} bytes: more than {MOST_BYTES}")
    print(f"{chosen.to}: {page.width} x {page.height}, {size} bytes")


if __name__ == "__main__":
    main()
