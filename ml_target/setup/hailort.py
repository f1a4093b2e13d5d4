"""HailoRT's packages are there, or are fetched from the vendor's public server, after a yes of its own."""

from collections.abc import Sequence

from ml_target.hailort.sources import MD5
from ml_target.setup.asking import fetching, on_terminal, python
from ml_target.setup.images import Images
from ml_target.setup.options import Talk
from ml_target.setup.packages import FOLDER, Lack, lacking, names, refusal, source
from ml_target.setup.settings import Chosen
from ml_target.setup.steps import Plan, Run, say, say_all, shown


def provide(talk: Talk, chosen: Chosen, driver: str, machine: str) -> Plan[None]:
    """Raises Refusal where they are not there, and nobody wants them fetched."""
    facts = talk.facts
    found = lacking(facts.project, driver, machine)
    if found:
        damaged = any(lack.kind == "damaged" for lack in found)  # only their owner can tell what it is, and delete it
        if damaged or not (yield from _wanted(talk, found)):
            raise refusal(facts, driver, machine, found)
        yield from _fetch(talk, chosen, driver, machine)
        found = [] if talk.options.dry else lacking(facts.project, driver, machine)
    if found:
        raise refusal(facts, driver, machine, found)
    yield from say_all(names(driver, machine))


def _wanted(talk: Talk, found: Sequence[Lack]) -> Plan[bool]:
    """--yes alone is none: it is about what was said before, and this is about trust."""
    if talk.options.fetch_hailort:
        return True
    if talk.options.yes or talk.options.dry or not talk.facts.asks:
        return False
    address = source(talk.facts)
    for lack in found:
        yield from say_all(lack.lines)
    yield say(f"They can be fetched without an account, from {address}")
    plain = address.startswith("http:")
    if plain:
        yield say("This is plain http: anybody on the way could change them. Of files without a published checksum")
        yield say(f"(one is published for {len(MD5)}) you see the SHA-256 before they are kept.")
    return (yield from talk.confirm(f"Fetch them from {address}{', over plain http' if plain else ''}?"))


def _fetch(talk: Talk, chosen: Chosen, driver: str, machine: str) -> Plan[None]:
    """By the worker's own command, in an image that needs no HailoRT."""
    images = Images(talk, "")
    if chosen.image:
        yield from images.pull(chosen.image)
    else:
        yield from images.build_slim()
    call = yield from fetching(talk.facts, FOLDER, "/hailort", ("HAILORT_SOURCE",))
    agreed = "--agreed" if talk.facts.asks and not talk.options.yes else "--yes"
    made_for = ("--version", driver, "--machine", machine, "--python", "3.12")
    call += python(images.slim, "hailort", "fetch", "--to", "/hailort", *made_for, agreed)
    if talk.options.dry:
        yield shown(call)
        return
    yield from talk.permit()
    yield Run(tuple(on_terminal(call, talk.facts)), "shown")  # what it could not do, the next look at the folder tells
