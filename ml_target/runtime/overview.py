"""What the page shows of the worker besides its status: words for people, from the same sources as the summary."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ml_target.catalogue.immich import clean_name
from ml_target.runtime.assembly import Place
from ml_target.runtime.names_seen import NamesSeen
from ml_target.runtime.registry import Services
from ml_target.runtime.summary import listed, to_type
from ml_target.tasks.register import TASKS
from ml_target.tasks.service import Service


def overview(services: Services, names: NamesSeen, url: str) -> dict[str, Any]:
    """Each task on or off with its remedy, what to type into Immich, and whether what it asks for is that."""
    return {
        "tasks": [_task(*each) for each in listed(services)],
        "immich": [{"field": field, "value": value} for field, value in to_type(services, url)],
        "names": list(_names(services, names)),
    }


def about(places: Sequence[Place]) -> list[dict[str, Any]]:
    """Every engine in use and what its device is; blocking."""
    return [
        {
            "engine": place.engine.name,
            "device": place.engine.device,
            "ready": place.arbiter.ready,
            "readings": place.engine.health(),
            "findings": [asdict(finding) for finding in place.engine.about()],
        }
        for place in places
    ]


def _task(label: str, service: Service[Any], served_by: str) -> dict[str, Any]:
    """`why` with the remedy in it where the two cannot be told apart."""
    never = service.never
    return {
        "name": service.name,
        "label": label,
        "on": service.on,
        "fault": service.fault,
        "served_by": served_by,
        "engines": list(dict.fromkeys(model.provenance.engine for model in service.models)),
        "why": never.reason if never else service.why_off,
        "remedy": never.remedy if never else "",
    }


def _names(services: Services, names: NamesSeen) -> Iterator[dict[str, Any]]:
    """`fits`: whether a name is one to choose in Immich; `choose`: these; `why`: it was refused, with the remedy."""
    for refused in names.refused():
        yield {**refused, "served_by": "", "choose": [], "fits": False}
    for name in names.describe():
        choose = [value.partition(" ")[0] for value in _choices(services, name["task"])]
        yield {**name, "why": "", "choose": choose, "fits": clean_name(name["asked"]) in map(clean_name, choose)}


def _choices(services: Services, task: str) -> Iterator[str]:
    """The names to choose in Immich for the task that has this service."""
    for each in TASKS:
        offered = services.of.get(each.name, ())
        if any(service.name == task for service in offered):
            yield from (field[1] for service in offered if service.on and (field := each.immich_setting(service)))
