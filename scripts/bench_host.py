"""The host's work without the networks: decoding, preparing, cropping, encoding, for any folder of photos.

Milliseconds of processor time (all threads of the process), the least of several rounds for each photo, means over the
photos. Sides take turns, a process each: this checkout; the plain way (Pillow; insightface's own detector and
alignment; RapidOCR's own processing); and with --against another checkout of this project. Networks answer what was
recorded: for faces three made-up ones a photo, for text what the real networks said the first time, at the card's
fixed sizes here and at free sizes in the plain way. Prints a Markdown table; ratios are taken photo by photo (medians).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
SUPPORT = PROJECT / "tests" / "support"
ORDER = (
    "decode",
    "prepare: search, shortest side",
    "prepare: search, squashed",
    "prepare: faces",
    "prepare: text",
    "crop: three faces",
    "encode: a vector",
    "search tinyclip",
    "search tinyclip, scaled",
    "search siglip",
    "search siglip, scaled",
    "faces",
    "text",
)
REPEATED = {"encode: a vector": 200, "crop: three faces": 5}
"""How often short steps are repeated for one figure."""


class Side:
    """A process that does one side's steps. `checkout`: what it imports `ml_target` from."""

    def __init__(self, kind: str, checkout: Path, models: Path) -> None:
        alone = {"VIPS_CONCURRENCY": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment = {**os.environ, "PYTHONPATH": f"{SUPPORT}:{checkout}", **alone}
        command = [sys.executable, str(Path(__file__).resolve()), "--side", kind, "--models", str(models)]
        self._process = subprocess.Popen(
            command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.steps: list[str] = self._read()

    def milliseconds(self, photo: Path, step: str) -> float:
        """Processor time of one step."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(photo), step]) + "\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("one side ended; its output is above")
        return json.loads(line)


def serve(kind: str, models: Path) -> None:
    """The process behind a `Side`: a photo and a step a line, milliseconds a line."""
    side: Any
    if kind == "plain":
        from plain_side import Plain

        side = Plain(models)
    else:
        from project_side import Project

        side = Project(models)
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(list(side.steps)), file=answers, flush=True)
    known: dict[str, tuple[bytes, Any]] = {}
    for line in sys.stdin:
        photo, step = json.loads(line)
        if photo not in known:
            known = {photo: (data := Path(photo).read_bytes(), side.decoded(data))}
        times = REPEATED.get(step, 1)
        started = time.process_time()
        for _ in range(times):
            side.do(step, photo, *known[photo])
        print((time.process_time() - started) * 1000 / times, file=answers, flush=True)
    os._exit(0)  # threads of libraries need no goodbye


def measure(sides: dict[str, Side], photos: list[Path], rounds: int) -> dict[str, dict[str, list[float]]]:
    """By step and side, the least time of each photo."""
    found: dict[str, dict[str, list[float]]] = {}
    for photo in photos:
        for step in ORDER:
            able = [name for name, side in sides.items() if step in side.steps]
            taken: dict[str, list[float]] = {name: [] for name in able}
            for number in range(rounds + 1):
                for name in able if number % 2 else able[::-1]:
                    taken[name].append(sides[name].milliseconds(photo, step))
            for name in able:
                found.setdefault(step, {}).setdefault(name, []).append(min(taken[name][1:]))
    return found


def ratio(ours: list[float], others: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(ours, others, strict=True)):.2f}"


def table(found: dict[str, dict[str, list[float]]], against: bool) -> None:
    columns = ["ours, ms", "plain, ms", "ours / plain", *(["other checkout, ms", "ours / other"] if against else [])]
    print(f"| step | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for step in ORDER:
        times = found.get(step, {})
        ours = times.get("ours")
        if ours is None:
            continue
        # Scaled decoding is compared with the whole way of those that do not have it.
        whole = found.get(step.removesuffix(", scaled"), {})
        cells = [f"{statistics.mean(ours):.2f}"]
        for name in ("plain", "other") if against else ("plain",):
            theirs = times.get(name) if name == "plain" else whole.get(name)
            theirs = theirs or whole.get(name)
            cells += [f"{statistics.mean(theirs):.2f}", ratio(ours, theirs)] if theirs else ["–", "–"]
        print(f"| {step} | {' | '.join(cells)} |", flush=True)


def photos_in(folder: Path | None) -> list[Path]:
    """The photos of a folder; without one, the project's own."""
    if folder is None:
        return [PROJECT / "tests" / "test.jpg"]
    endings = (".jpg", ".jpeg", ".png", ".webp")
    found = sorted(file.resolve() for file in folder.iterdir() if file.suffix.lower() in endings)
    if not found:
        raise SystemExit(f"{folder} holds no photos ({', '.join(endings)})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench host", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="default: tests/test.jpg")
    parser.add_argument("--against", type=Path, metavar="WORKTREE", help="another checkout, from 7d9a00f on")
    parser.add_argument("--rounds", type=int, default=7, help="for each photo (default %(default)d)")
    parser.add_argument("--models", type=Path, default=PROJECT / "tests" / ".cache" / "models", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("plain", "ours"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        serve(chosen.side, chosen.models)
        return
    if chosen.against and not (chosen.against / "ml_target").is_dir():
        parser.error(f"argument --against: {chosen.against} is no checkout of this project")
    photos = photos_in(chosen.photos)
    sides = {"ours": Side("ours", PROJECT, chosen.models), "plain": Side("plain", PROJECT, chosen.models)}
    if chosen.against:
        sides["other"] = Side("ours", chosen.against.resolve(), chosen.models)
    if "text" not in sides["ours"].steps:
        print("Text is left out: its networks are not in tests/.cache/models (./setup.sh test fetches them).\n")
    print(f"{len(photos)} photos, {chosen.rounds} rounds, milliseconds of processor time\n")
    try:
        table(measure(sides, photos, chosen.rounds), bool(chosen.against))
    finally:
        for side in sides.values():
            side.close()


if __name__ == "__main__":
    main()
