"""`python3 -m ml_target.diagnostics.speed --url URL`: how fast a running worker answers over HTTP.

`scripts/bench device --url` is the same command; in a container it runs without anything else. It uses only the
standard library, so it runs on any machine that has this folder and Python.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ml_target.diagnostics.clients import Connection, Turn, closed_loop, form, tasks_on

PHOTO = Path(__file__).resolve().parent / "checks" / "board.jpg"
"""The selfcheck's picture: 1280 x 960, with faces and text."""

CLIENTS = (1, 8, 16)
QUERIES = tuple(f"a dog on beach number {number}" for number in range(16))
MOST_S = 600.0
"""A measurement ends after ten minutes, with the rows that it has."""

EXAMPLES = """examples:
  docker exec immich-ml-hailo python3 -m ml_target.diagnostics.speed --url http://127.0.0.1:3003 > speed.md
  scripts/bench device --url http://127.0.0.1:3003 --photos FOLDER --json speed.json

Exit code: 0 measured, 1 a request failed or nothing answers, 2 an argument is wrong."""


@dataclass(frozen=True, slots=True)
class Row:
    """One task with this many clients. `failed`: why there are no figures; `left_out`: because they were not taken."""

    task: str
    clients: int
    a_second: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    failed: str = ""
    left_out: bool = False

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        if self.failed:
            return self.task, str(self.clients), f"{'left out' if self.left_out else 'failed'}: {self.failed}", "", ""
        return self.task, str(self.clients), f"{self.a_second:.2f}", f"{self.p50_ms:.0f}", f"{self.p95_ms:.0f}"


def measure(
    url: str,
    status: Mapping[str, Any],
    pictures: Sequence[bytes],
    clients: Sequence[int],
    seconds: float,
    *,
    together: bool = True,
    slowest_s: float = 60.0,
    most_s: float = MOST_S,
) -> Iterator[Row]:
    """A row for every task that is on and every number of clients, as soon as it is known.

    `together`: also all tasks of a photo, one after the other, as one. `slowest_s`: more clients than one are left out
    where an answer would take longer; nothing is begun after `most_s`.
    """
    end = time.monotonic() + most_s
    for label, asked in _turns(status, pictures, together=together).items():
        alone = 0.0
        for count in clients:
            if time.monotonic() > end:
                yield Row(label, count, failed=f"{most_s / 60:g} minutes are over", left_out=True)
            elif alone * count > slowest_s:
                yield Row(label, count, failed="one client alone is slow enough", left_out=True)
            else:
                seen = asyncio.run(closed_loop(url, asked, count, seconds, min(1.0, seconds / 4)))
                if seen.failed or not seen.latencies:
                    why = seen.failed[0] if seen.failed else "no answer in time"
                    yield Row(label, count, failed=why.splitlines()[0][:300])
                    break
                alone = alone or seen.milliseconds(0.5) / 1000 / count
                yield Row(label, count, seen.rate, seen.milliseconds(0.5), seen.milliseconds(0.95))


def _turns(status: Mapping[str, Any], pictures: Sequence[bytes], *, together: bool) -> dict[str, list[Turn]]:
    """What clients send, by the row's label: as many turns as there are pictures, or queries."""
    turns: dict[str, list[Turn]] = {}
    for label, entries in tasks_on(status):
        contents: Sequence[bytes | str] = QUERIES if label == "clip.textual" else pictures
        turns[label] = [(form(entries, content),) for content in contents]
    photos = [label for label in turns if label != "clip.textual"]
    if together and len(photos) > 1:
        turns["all of a photo"] = [
            tuple(each for (each,) in parts) for parts in zip(*(turns[label] for label in photos), strict=True)
        ]
    return turns


# -------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a Markdown table. Exit code: see `EXAMPLES`."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    pictures = _pictures(parser, chosen.photos)
    try:
        status = json.loads(asyncio.run(_get(chosen.url, "/status")))
        if not isinstance(status, dict) or "tasks" not in status:
            raise ValueError("what answers there is not a worker of this project")
        if status.get("ready") is not True:
            raise ValueError(f"the worker is {status.get('state')}: wait until it is ready, or look at its log")
    except (OSError, ValueError) as error:
        print(f"error: {chosen.url}: {error}. Name a running worker, as in http://127.0.0.1:3003", file=sys.stderr)
        return 1
    head = _head(status, len(pictures), chosen.url)
    print("\n".join(head), flush=True)
    print("\n| task | clients | answers a second | p50, ms | p95, ms |\n|---|---|---|---|---|", flush=True)
    rows = []
    for row in measure(chosen.url, status, pictures, chosen.clients, chosen.seconds):
        rows.append(row)
        print(f"| {' | '.join(row.cells())} |", flush=True)
    after = json.loads(asyncio.run(_get(chosen.url, "/status")))
    print(f"\nThe device afterwards: {json.dumps(after.get('devices'))}")
    if chosen.json:
        content = {"about": head, "before": status, "after": after, "rows": [asdict(row) for row in rows]}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if any(row.failed and not row.left_out for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench device",
        description="How fast a running worker answers over HTTP: each task, and all of a photo. Ten minutes at most.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", type=_url, required=True, help="of a worker that serves nobody else meanwhile")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="of JPEGs, such as Immich's previews")
    parser.add_argument("--clients", type=_positive, nargs="+", default=CLIENTS, help="default: 1 8 16")
    parser.add_argument("--seconds", type=_seconds, default=8.0, help="for a row (default %(default)g)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures there, too")
    return parser


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not like http://127.0.0.1:3003")
    return text.rstrip("/")


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.1 to {MOST_S:g}")
    return value


def _pictures(parser: argparse.ArgumentParser, folder: Path | None) -> list[bytes]:
    if folder is None:
        return [PHOTO.read_bytes()]
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg"))
    except OSError as error:
        parser.error(f"argument --photos: {error}")
    if not files:
        parser.error(f"argument --photos: {folder} holds no .jpg; Immich's previews lie in its folder thumbs/")
    return [file.read_bytes() for file in files]


async def _get(url: str, path: str) -> bytes:
    connection = Connection(url)
    try:
        return await connection.get(path)
    finally:
        await connection.close()


def _head(status: Mapping[str, Any], photos: int, url: str) -> list[str]:
    """What the figures depend on; no names or addresses of the machine."""
    networks = [
        f"{each.get('network')} on {each.get('engine')}"
        for task in status["tasks"].values()
        if isinstance(task, dict)
        for each in task.get("networks", ())
    ]
    here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return [
        f"- worker {status.get('version')}, engine {status.get('engine')}, {', '.join(networks)}",
        f"- device before: {json.dumps(status.get('devices'))}",
        f"- {_processor()}, {os.cpu_count()} cores, {platform.machine()}"
        if here
        else "- measured from another machine",
        f"- {photos} photo{'s' if photos > 1 else ''}",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(": ")[2] for line in lines if line.startswith(("model name", "Model"))), "processor")


if __name__ == "__main__":
    sys.exit(main())
