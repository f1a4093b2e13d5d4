"""What the page shows of the worker besides its status: words for people, from the same sources as the summary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ml_target.catalogue.immich import clean_name
from ml_target.runtime.assembly import Place
from ml_target.runtime.names_seen import NamesSeen
from ml_target.runtime.registry import Services
from ml_target.runtime.summary import listed, to_type
from ml_target.tasks.contract import ImmichSetting, Task
from ml_target.tasks.register import TASKS
from ml_target.tasks.service import Service


def overview(services: Services, names: NamesSeen, address: ImmichSetting) -> dict[str, Any]:
    """Each task on or off with its remedy, what to type into Immich, and whether what it asks for is that."""
    return {
        "tasks": [_task(services, *each) for each in listed(services)],
        "immich": [asdict(setting) for setting in to_type(services, address)],
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


def _task(services: Services, label: str, service: Service[Any], served_by: str) -> dict[str, Any]:
    off = service.off
    return {
        "name": service.name,
        "label": label,
        "on": service.serves is not None and not off,
        "fault": service.fault,
        "served_by": served_by,
        "choose": next((_choice(task, service) for task in TASKS if service in services.of[task.name]), ""),
        "engines": list(dict.fromkeys(model.provenance.engine for model in service.models)),
        "why": off.reason if off else "",
        "remedy": off.remedy if off else "",
    }


def _names(services: Services, names: NamesSeen) -> Iterator[dict[str, Any]]:
    """`fits`: whether a name is one to choose in Immich; `choose`: these, and what that `costs`; `why`: it was refused,
    with the remedy."""
    for refused in names.refused():
        yield {**refused, "served_by": "", "choose": [], "costs": "", "fits": False}
    for name in names.describe():
        task = next(each for each in TASKS if name["task"] in {service.name for service in services.of[each.name]})
        offered = services.of[task.name]
        choose = [chosen for service in offered if service.on and (chosen := _choice(task, service))]
        fitting = {clean_name(each) for each in (*choose, *_answered(task.status(offered)))}
        asked = clean_name(name["asked"])
        fits = asked in fitting or asked.rpartition("__")[2] in fitting  # before a text model its language may stand
        yield {**name, "why": "", "choose": choose, "costs": task.renaming, "fits": fits}


def _choice(task: Task[Any, Any], service: Service[Any]) -> str:
    """The name to choose in Immich for this service; "" where another one of its task says it."""
    setting = task.immich_setting(service)
    return setting.value if setting else ""


def _answered(status: Mapping[str, Any]) -> Iterator[str]:
    """Further names that a task answers for as for the one to choose, as its status lists and recommends them."""
    for rows in status.values():
        for row in rows:
            yield from (*row.get("names", ()), row.get("recommended_name", "")) if row["on"] else ()
