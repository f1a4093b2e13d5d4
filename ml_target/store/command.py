"""`python3 -m ml_target models`: lists, fetches and verifies the model files, and says which are missing.

Only the output is our own code; argparse parses the command line.
"""

import argparse
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from ml_target.catalogue.needs import EngineSetting, Need, needs, settled, whole_catalogue
from ml_target.catalogue.networks import AUTO, CLIP_BACKENDS, with_baked
from ml_target.catalogue.types import CHIPS, DEFAULT_CHIP, Chip, ModelFile
from ml_target.config import PROJECT, Settings, choose_engine
from ml_target.errors import DamagedFileError, MissingFileError, ModelError
from ml_target.store import Progress, Store
from ml_target.store.inventory import table, take_stock

OK, INCOMPLETE, WRONG_USE, STOPPED = 0, 1, 2, 130
MB = 1e6

DESCRIPTION = """The model files that the settings ask for. What to do:
  list      every file of the catalogue: is it there, and is it whole (when nothing is named)
  fetch     get what is missing, or the files named
  missing   what fetch would get; nothing where all is there
  verify    read every file again and compare it with its checksum
  pin       record the checksum of every file that has no published one; building the image does this

Exit code: 0 all is well, 1 something is missing or damaged (fetch, verify, pin), 2 an argument is wrong,
130 stopped by Ctrl-C or SIGTERM (fetch)."""


@dataclass(slots=True)
class Outcome:
    """The result of a fetch."""

    there: list[str] = field(default_factory=list)
    absent: list[tuple[Need, str]] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description = DESCRIPTION
    parser.add_argument("action", nargs="?", choices=("list", "fetch", "missing", "verify", "pin"), default="list")
    parser.add_argument("names", nargs="*", metavar="FILE", help="fetch these files only (names as in the list)")
    parser.add_argument("--engine", choices=get_args(EngineSetting), help="fetch for this engine (default: ENGINE)")
    parser.add_argument("--chip", choices=CHIPS, default=DEFAULT_CHIP, help=f"which HEFs (default: {DEFAULT_CHIP})")
    parser.add_argument(
        "--clip-backend",
        action="append",
        choices=(*CLIP_BACKENDS, AUTO),
        help="fetch for this backend (default: CLIP_BACKEND); may be given several times",
    )
    parser.add_argument(
        "--baked", action="store_true", help="and for those that the image for a card holds besides (setup.sh)"
    )
    parser.add_argument("--fresh", action="store_true", help="list: read every file again, also those on record")
    parser.add_argument("--all", action="store_true", help="fetch the whole catalogue, whatever the settings need")
    parser.add_argument("--best-effort", action="store_true", help="exit with 0 even if something could not be fetched")


def open_store(settings: Settings, progress: Progress | None = None) -> Store:
    """The store that the settings describe."""
    return Store(
        settings.models_dir,
        spare=PROJECT / "models",
        mirror=settings.models_mirror,
        hf_endpoint=settings.hf_endpoint,
        progress=progress,
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Runs the action; returns the exit code.

    list: always 0. fetch: 1 when something wanted is missing or damaged, unless --best-effort.
    missing: always 0; it prints what fetch would get, and nothing when no file is missing.
    verify, pin: 1 when a file is damaged. 130: stopped by Ctrl-C or SIGTERM; the next run resumes.
    """
    if args.action == "pin":
        return _pin(Store(settings.models_dir))
    store = open_store(settings, Progress(sys.stderr))
    if words := store.fallback():
        print(words, file=sys.stderr)
    if args.action in ("fetch", "missing"):
        try:
            wanted = _wanted(args, settings, store)
        except LookupError as error:
            print(error.args[0], file=sys.stderr)
            return WRONG_USE
        return _until_stopped(args, wanted, store) if args.action == "fetch" else _missing(wanted, store)
    rows = take_stock(store, args.chip, fresh=args.fresh or args.action == "verify")
    print(table(rows))
    damaged = any(row.state == "damaged" for row in rows)
    return INCOMPLETE if damaged and args.action == "verify" else OK


def _until_stopped(args: argparse.Namespace, wanted: list[Need], store: Store) -> int:
    """Fetches. SIGTERM stops it as Ctrl-C does, leaving only what the next run can resume."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _fetch(args, wanted, store)
    except KeyboardInterrupt:
        print("\nstopped. What has come is kept: run this again, and it goes on from there", file=sys.stderr)
        return STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)


def _pin(store: Store) -> int:
    """Records the checksums of the files that are there, for either chip. Runs no network, so any machine can do it."""
    wanted = [file for chip in CHIPS for need in whole_catalogue(chip) for file in need.files]
    problems = dict.fromkeys(_pinned(store, file, path) for file in wanted for path in store.copies(file))
    problems.pop("", None)
    for problem in problems:
        print(problem, file=sys.stderr)
    return INCOMPLETE if problems else OK


def _pinned(store: Store, file: ModelFile, path: Path) -> str:
    """Records one file; returns what is wrong with it, or "". A HEF of the other chip is recorded as that chip's."""
    try:
        store.pin(file, path)
    except DamagedFileError as damage:
        return ". ".join(filter(None, (damage.reason, damage.first)))  # then would come a command inside the build
    except ModelError as error:
        return "" if file.chip else error.reason
    return ""


def _fetch(args: argparse.Namespace, wanted: list[Need], store: Store) -> int:
    outcome = Outcome()
    for need in wanted:
        file, reason = obtain(store, need)
        if file is None:
            outcome.absent.append((need, reason))
            print(reason, file=sys.stderr)
        else:
            outcome.there.append(f"{file.name} ({need.label})" + (f": {file.note}" if file.note else ""))
    _summarise(outcome, wanted, store)
    short = any(not need.optional for need, _ in outcome.absent)
    return INCOMPLETE if short and not args.best_effort else OK


def _wanted(args: argparse.Namespace, settings: Settings, store: Store) -> list[Need]:
    """What to fetch. Raises LookupError for a name that the catalogue does not have, SettingsError."""
    catalogue = whole_catalogue(args.chip)
    if args.all:
        return catalogue
    if args.names:
        by_name = {name: need for need in catalogue for name in (need.files[0].name, *need.files[0].aliases)}
        unknown = [name for name in args.names if name not in by_name]
        if unknown:
            known = ", ".join(need.files[0].name for need in catalogue)
            raise LookupError(f"{', '.join(unknown)}: not in the catalogue, which has {known}")
        return [by_name[name] for name in args.names]
    engine = choose_engine(args.engine or settings.engine)
    backends = args.clip_backend or [settings.clip_backend]
    if args.baked:
        backends = list(dict.fromkeys(name for choice in backends for name in with_baked(choice)))
    print(f"files for ENGINE={engine}, CLIP_BACKEND={', '.join(backends)}, in {store.target}", file=sys.stderr)
    chip: Chip = args.chip
    found: list[Need] = []
    for backend in backends:
        chosen = needs(settled(replace(settings, clip_backend=backend), engine, chip, store.find), engine, chip)
        found += [need for need in chosen if not need.optional and need not in found]
    return found


def _missing(wanted: list[Need], store: Store) -> int:
    """Prints a line for each need that no file serves, then the total size of the downloads."""
    lines: list[str] = []
    sizes: list[int | None] = []
    for need in wanted:
        file = next((file for file in need.files if store.find(file)), need.files[0])
        size = f", {file.size / MB:,.1f} MB" if file.size else ""
        try:
            store.sound(file)
        except MissingFileError:
            sizes.append(file.size)
            lines.append(f"{file.name} ({need.label}){size}")
        except DamagedFileError as damage:
            sizes.append(file.size)
            lines.append(f"{file.name} ({need.label}){size}: {damage.reason}. It is replaced, and kept aside")
        except ModelError as error:
            lines.append(f"{file.name} ({need.label}) is there but cannot be used: {error}")
    if sizes:
        lines.append(f"{len(sizes)} to fetch: {_total(sizes)}")
    if lines:
        print("\n".join(lines))
    return OK


def _total(sizes: list[int | None]) -> str:
    known = [size for size in sizes if size is not None]
    if not known:
        return "no size is published"
    more = ", and those without a published size" if len(known) < len(sizes) else ""
    return f"{sum(known) / MB:,.1f} MB{more}"


def obtain(store: Store, need: Need) -> tuple[ModelFile | None, str]:
    """The file that now serves the need; or None, and why none could be fetched."""
    there = [file for file in need.files if store.find(file)]
    reasons: list[str] = []
    for file in there or need.files:
        reason = _have(store, file)
        if not reason:
            return file, ""
        if file.sources or not reasons:  # nobody searches for a stand-in by name
            reasons.append(reason)
    return None, "\n".join(reasons)


def _have(store: Store, file: ModelFile) -> str:
    """Fetches one file, or replaces a damaged one; returns what went wrong, or ""."""
    try:
        store.fetch(file)
    except ModelError as error:
        return str(error)
    return ""


def _summarise(outcome: Outcome, wanted: list[Need], store: Store) -> None:
    print(f"\nthere ({len(outcome.there)} of {len(wanted)}), in {store.target}:")
    for text in outcome.there:
        print(f"  {text}")
    if outcome.absent:
        print("could not be had, reasons above:")
    for need, _ in outcome.absent:
        print(f"  {' or '.join(file.name for file in need.files)} ({need.label})")
    lacking = {need.label for need, _ in outcome.absent if not need.optional}
    for label in dict.fromkeys(need.label for need in wanted):
        print(f"{label}: {'incomplete' if label in lacking else 'complete'}")
