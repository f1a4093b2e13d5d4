"""Which chip the card has, and the model files for it: both are asked of the worker's own commands in the image."""

import re
from collections.abc import Sequence
from pathlib import Path

from ml_target.catalogue.types import CHIP_TO_TYPE, EITHER_CHIP
from ml_target.setup.asking import CONFINED, PIP, card, fetching, hailort_mounts, on_terminal, python
from ml_target.setup.card import Using
from ml_target.setup.images import require_space
from ml_target.setup.options import Talk
from ml_target.setup.settings import Chosen
from ml_target.setup.steps import Plan, Refusal, Run, say, say_all, shown

CHIP = re.compile("hailo[0-9]+[a-z]*")
MODELS_MB = 1500


def find_chip(talk: Talk, chosen: Chosen, using: Using, image: str) -> Plan[str]:
    """What --chip says, or else the card."""
    if talk.options.chip:
        yield say(f"{talk.options.chip}, as told with --chip")
        return talk.options.chip
    mounts = hailort_mounts(talk.facts) if chosen.image else []
    call = ["docker", "run", "--rm", *card(using, chosen), *mounts, *CONFINED, *python(image, "doctor", "--chip")]
    if talk.options.dry:
        yield shown(call)
        yield say(f"(CHIP below stands for its answer, {EITHER_CHIP})")
        return "CHIP"
    chip = (yield Run(tuple(call))).text.strip()
    if not CHIP.fullmatch(chip):
        raise Refusal(
            "the card does not say what it is.",
            "The lines above say why, and the remedy. Look for a program that holds the card, and at: dmesg | grep "
            "hailo",
            f"To go on all the same: ./setup.sh --chip {CHIP_TO_TYPE}",
        )
    yield say(f"the card is a {chip}")
    return chip


def provide(talk: Talk, chosen: Chosen, chip: str, image: str) -> Plan[bool]:
    """Fetches what is missing. False: files are missing, and the run goes on without them. `chip`: "" for none."""
    wanted = ["--engine", "hailo" if chip else "cpu"]
    if chip:
        wanted += ["--chip", chip]
        if not chosen.image:
            wanted.append("--baked")  # a restart is then enough to change
    call = yield from _store(talk, chosen, image)
    missing, fetch = [*call, "missing", *wanted], [*call, "fetch", *wanted]
    if talk.options.dry:
        yield shown(missing)
        yield say("and if it lists any:")
        yield shown(fetch)
        return True
    found = yield Run(tuple(missing))  # what Docker warns of is no missing file
    if found.code:
        raise Refusal("the model files could not be looked at.", "The lines above say why. Then run this again.")
    if not found.text.strip():
        yield say(f"all there for {chosen.backend}")
        return True
    yield say(f"Wanted for {chosen.backend}:")
    yield from say_all([f"  {line}" for line in found.text.splitlines()])
    if " is there but cannot be used: " in found.text:
        raise Refusal(
            f"files in {talk.facts.project}/models cannot be used; the lines above say which and why.",
            "Delete those, then run this again: they are fetched again. (/app/models there is that folder here.)",
        )
    return (yield from _fetch(talk, fetch))


def _store(talk: Talk, chosen: Chosen, image: str) -> Plan[list[str]]:
    """The call of the store's command, up to its action."""
    facts = talk.facts
    call = yield from fetching(facts, "models", "/app/models", ("HF_ENDPOINT", *PIP))
    for word in chosen.words:
        call += ["-e", word]
    mirror = facts.given("MODELS_MIRROR")
    # Asked of the shell: from inside an image the planner would not see the folder.
    if mirror and (yield Run(("test", "-d", mirror), "quiet")).code == 0:
        call += ["-v", f"{Path(facts.project, mirror)}:/mirror:ro", "-e", "MODELS_MIRROR=/mirror"]
    elif mirror:
        call += ["-e", "MODELS_MIRROR"]
    return [*call, *python(image, "models")]


def _fetch(talk: Talk, call: Sequence[str]) -> Plan[bool]:
    project, missing_ok = talk.facts.project, talk.options.missing_ok
    yield say("They come from the Hailo Model Zoo, Hugging Face and Python packages, each under a licence of its own:")
    yield say("docs/models.md lists them. Those for faces are for non-commercial research only.")
    if not (yield from talk.confirm("Fetch them now?")):
        if missing_ok:
            return False
        raise Refusal(
            "without them their tasks would be off.",
            f"Put the files into {project}/models, or name a folder or address that has them: MODELS_MIRROR=… "
            "./setup.sh",
            "To go on without: ./setup.sh --missing-ok",
        )
    yield from require_space(MODELS_MB, f"{project}/models", "the models")
    if not (yield Run(tuple(on_terminal(call, talk.facts)), "shown")).code:
        return True
    if missing_ok:
        yield say("not all models could be fetched; going on without them")
        return False
    raise Refusal(
        "not all models could be fetched; the lines above say which and why.",
        f"Run this again: it goes on where it stopped. (/app/models there is {project}/models here.)",
        "Closed networks: name a folder or an address, MODELS_MIRROR=… ./setup.sh (docs/settings.md, Model files).",
        "To go on without them, their tasks off: ./setup.sh --missing-ok",
    )
