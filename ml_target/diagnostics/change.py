"""`python3 -m ml_target.diagnostics.change NAME=VALUE…`: what has to run again in Immich after a change of settings.

The words are the settings until now, the environment has the new ones. It needs only Python itself: setup.sh asks it
before it changes anything. Two networks have two spaces where the catalogue does not give them one; on card and on
processor one network nearly has one.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping

from ml_target.catalogue.immich import WIDTHS
from ml_target.catalogue.needs import EngineName, chosen, engine_of, may_stand_in
from ml_target.catalogue.networks import AUTO, CLIP_BACKENDS, backend_names
from ml_target.catalogue.types import Network
from ml_target.config import Settings, as_today, planned_engine, setting_names
from ml_target.diagnostics.settings import Environment
from ml_target.errors import UnusableInput
from ml_target.log.terminal import replace_unprintable
from ml_target.tasks.clip.names import backend_for

SEARCH_AGAIN = "After the change run in Immich: Jobs → Smart Search → All."
FACES_AGAIN = (
    "After the change run in Immich: Jobs → Face Detection → Reset (not Refresh, which keeps the old vectors).",
    "People have to be named again.",
)
ENGINES = {"cpu": "the processor", "hailo": "the card"}
DECIDING = ("clip_backend", "clip_text_engine", "siglip_resize", "face_detector", "face_recognizer")
"""The settings, besides ENGINE, that decide what is stored."""


def told(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In words what does not fit what is stored, and what to run. Empty where nothing has to run."""
    before = as_today(before)
    names = [name for attribute in DECIDING for name in setting_names(attribute)]
    old = Environment.read({name: before[name] for name in names if name in before})
    if old.problems:
        return [f"Until now it had settings that this version does not know: {old.problems[0].reason}.", SEARCH_AGAIN]
    sides = (old.settings, planned_engine(before)), (Environment.read(now).settings, planned_engine(now))
    moved = [f"Until now it ran on {ENGINES[sides[0][1]]}."] if sides[0][1] != sides[1][1] else []
    search, faces = list(_search(*sides)), list(_faces(*sides))
    if not search and not faces:
        return []
    people = ["People stay: their network runs on the processor on both sides."] if moved and not faces else []
    return moved + search + faces + people


Side = tuple[Settings, EngineName]


def _search(old: Side, new: Side) -> Iterator[str]:
    """Of queries nothing is stored, so what runs their towers does not count."""
    before, after = (backend_names(side[0].clip_backend) for side in (old, new))
    lost = [name for name in before if name not in after]
    answered = {name: _answers(name, before) for name in WIDTHS}
    moved = [name for name, backend in answered.items() if backend and backend != _answers(name, after)]
    kept = [CLIP_BACKENDS[name] for name in before if name in after]
    resized = any(b.resize_by_setting for b in kept) and old[0].siglip_resize != new[0].siglip_resize
    elsewhere = any(_runs(b.visual, old) != _runs(b.visual, new) for b in kept)
    if lost:
        names = " or ".join(CLIP_BACKENDS[name].immich_name for name in after)
        said = f"Until now it had CLIP_BACKEND={old[0].clip_backend}."
        if kept and not (resized or elsewhere or old[0].clip_backend == AUTO):  # nobody knows which of them auto found
            yield f"{said} Where {' or '.join(b.name for b in kept)} answered for the"
            yield f"library's name, nothing has to run. Where {' or '.join(lost)} did:"
            yield f"vectors of two backends do not mix, so after the change choose {names} in Immich,"
            yield "and run Jobs → Smart Search → All there (README, What switching costs)."
        else:
            yield f"{said} Vectors of two backends do not mix: after the"
            yield f"change choose {names} in Immich,"
            yield "and run Jobs → Smart Search → All there (README, What switching costs)."
    elif moved:
        names = ", ".join(moved[:3]) + (" and others" if len(moved) > 3 else "")
        yield f"Until now {answered[moved[0]]} answered for {names}, and it would no longer. Where Immich's"
        yield f"library goes by such a name: {SEARCH_AGAIN}"
    if resized:
        yield f"Until now it had SIGLIP_RESIZE={old[0].siglip_resize}. Pictures are then prepared in another way."
        yield SEARCH_AGAIN
    elif elsewhere and not lost:
        yield "Card and processor compute one search model with other precision: searches mostly stay as they are, but"
        yield "duplicates are compared more finely. After the change run in Immich: Jobs → Smart Search → All, then"
        yield "Duplicate Detection; or measure first what it needs: docs/changing.md."


def _faces(old: Side, new: Side) -> Iterator[str]:
    was, will = (_recognizer(side[0]) for side in (old, new))
    moves = _runs(was, old) != _runs(will, new)
    if was.space != will.space:
        yield f"Until now it had FACE_RECOGNIZER={was.choice}. Vectors of two networks do not mix."
        yield from FACES_AGAIN
    elif moves and (was.template or will.template):
        names = " and ".join(dict.fromkeys(f"FACE_RECOGNIZER={each.choice}" for each in (was, will)))
        yield f"{names}: it is one network, on the card in 8 bits. People can stay, as far as the selfcheck of your HEF"
        yield "goes: measure it on your photos before the change, docs/changing.md."
    elif moves:
        yield f"Card and processor compute {was.name} with other precision, and Immich compares old faces with new."
        yield from FACES_AGAIN
    yield from _stand_in(was, old, will, new)


def _stand_in(was: Network, old: Side, will: Network, new: Side) -> Iterator[str]:
    """Nobody can tell from settings whether the processor took a stand-in, as it does where no network is named."""
    may = [may_stand_in(network, *side) for network, side in ((was, old), (will, new))]
    if was is will and may[0] != may[1] and (stand_in := may[0] or may[1]):
        yield f"Where {stand_in.onnx[0].name} is in the models folder and {was.onnx[0].name} is not, this stand-in"
        yield "serves while FACE_RECOGNIZER is not set (the log and /status say so), and its vectors are others:"
        yield from FACES_AGAIN


def _answers(name: str, served: tuple[str, ...]) -> str:
    """The backend that answers for a name; "" where it is refused."""
    try:
        return backend_for(name, [CLIP_BACKENDS[each] for each in served]).name
    except UnusableInput:
        return ""


def _recognizer(settings: Settings) -> Network:
    return next(n for n in chosen(settings) if n.task == "facial-recognition" and n.space)


def _runs(network: Network, side: Side) -> EngineName:
    return engine_of(network, *side)


def main(arguments: list[str] | None = None) -> int:
    """Prints what has to run again; nothing where nothing has to."""
    replace_unprintable()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("before", nargs="*", metavar="NAME=VALUE", help="a setting until now")
    asked = parser.parse_args(arguments)
    before = dict(word.split("=", 1) for word in asked.before if "=" in word)
    print("\n".join(told(before, os.environ)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
