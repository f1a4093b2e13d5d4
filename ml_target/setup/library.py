"""What Immich has stored already: which settings keep it, and what a change of settings costs."""

from collections.abc import Mapping

from ml_target.catalogue.needs import EngineName
from ml_target.catalogue.types import CHIPS
from ml_target.config import planned_engine
from ml_target.diagnostics.change import told
from ml_target.diagnostics.library import propose
from ml_target.errors import SettingsError
from ml_target.setup.options import Talk
from ml_target.setup.settings import Chosen, in_words
from ml_target.setup.steps import Ask, Err, Plan, Refusal, say, say_all

STOPPED = "stopped; the worker was not changed."


def ask_about_change(talk: Talk, chosen: Chosen) -> Plan[None]:
    """Of what made the vectors in Immich's database, with what has to be run again there."""
    if not chosen.before:
        return
    words = told(chosen.before, chosen.environment(talk.facts))
    if not words:
        return
    yield from say_all(words)
    if not (yield from talk.confirm("Change it?")):
        raise Refusal(STOPPED, f"As it was: {way_back(talk, chosen)}")


def way_back(talk: Talk, chosen: Chosen) -> str:
    """The call that keeps the settings as they were."""
    before, now = chosen.before, chosen.settings
    front = [
        f"{name}={before.get(name, '')}"  # empty is the default
        for name in ("SIGLIP_RESIZE", "FACE_RECOGNIZER")
        if before.get(name, "") != now.get(name, "")
    ]
    options: list[str] = []
    if before.get("CLIP_BACKEND") != chosen.backend:
        options += ["--clip-backend", before.get("CLIP_BACKEND", "")]
    if planned_engine(before) == "cpu":
        options += [] if chosen.cpu else ["--cpu"]
    elif chosen.cpu and talk.facts.given("ENGINE"):
        front.append("ENGINE=")
    return " ".join([*front, "./setup.sh", *options])


def ask_about_library(talk: Talk, chosen: Chosen, chip: str) -> Plan[None]:
    """Where nobody has said which backend: changes the settings by what Immich has indexed. `chip`: "" for none."""
    if chosen.told:
        return
    if talk.options.dry or talk.options.yes or not talk.facts.asks:
        yield say(
            "Settings for a new library. Where Immich's own worker has indexed it, docs/changing.md has those that "
            "keep that."
        )
        return
    proposed = yield from ask(talk, chosen.engine, chip, "./setup.sh")
    chosen.take(proposed, talk.facts)


def ask(talk: Talk, engine: EngineName, chip: str, call: str) -> Plan[Mapping[str, str]]:
    """The question itself; the settings that its answer proposes. `call`: who asks it, as it is typed.

    Raises Refusal where nobody answers, or who has answered does not want them.
    """
    yield say("Has Immich, with its own worker, indexed this library already? Then searches can stay, and people too.")
    yield say("y: with its default model; n: no, or it was this worker; or type the CLIP model that its settings have.")
    known = next((each for each in CHIPS if each == chip), None)
    while True:
        answer = yield Ask("    [n] ")
        if answer.code:
            raise Refusal(STOPPED, f"To be asked nothing: CLIP_BACKEND=NAME {call}")
        try:
            proposal = propose(answer.text, engine, known)
        except SettingsError as error:
            yield Err(str(error))
            yield say("Once more, please.")
            continue
        break
    if proposal.words:
        yield from say_all(proposal.words)
        if not (yield from talk.confirm(f"Set it up with {in_words(proposal.settings)}?")):
            raise Refusal(STOPPED, f"Choose yourself: CLIP_BACKEND=… FACE_RECOGNIZER=… {call} (docs/changing.md)")
    return proposal.settings
