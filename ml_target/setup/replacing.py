"""A new container in the place of ours: what is lost on the way is nothing, whatever fails.

The way back is handed over before the first step that is dangerous, so that it is gone whoever ends the run.
"""

from dataclasses import dataclass

from ml_target.setup.container import ASIDE, NAME, OWNER, Containers, Ours, look, require_port
from ml_target.setup.failures import run_refusal
from ml_target.setup.options import Talk
from ml_target.setup.steps import Arm, Plan, Refusal, Run, Undo, UndoNow, say, shown

PATIENCE_S = 30
"""For what the worker has yet to answer when it is stopped."""

MEND = "Fix what Docker reports above, then run this again."


@dataclass(frozen=True, slots=True)
class Wanted:
    """The container to have. `call`: the docker run line; `settings`: its label; `image`: the name of its image."""

    call: tuple[str, ...]
    settings: str
    image: str
    port: int


def start(talk: Talk, wanted: Wanted) -> Plan[None]:
    """Leaves ours, starts it, or puts a new one in its place."""
    containers = yield from look(building=False)
    ours = yield from _clear_up(talk, containers)
    if ours:
        same = ours.settings == wanted.settings and ours.image == (yield from _image_id(wanted.image))
        if same and (yield from _keep(talk, wanted, ours, containers)):
            return
        yield from talk.permit()
        yield from require_port(wanted.port, containers, talk.facts.shell_root)
        yield from _set_aside(talk, ours)
    else:
        yield from talk.permit()
        yield from require_port(wanted.port, containers, talk.facts.shell_root)
    yield say(f"starting {NAME}")
    if talk.options.dry:
        yield shown(wanted.call)
    else:
        yield from _run(wanted, ours is not None)
    if ours:
        yield from _remove_aside(talk)
        yield say("(docker image prune frees the image before, if that has changed)")


def _image_id(image: str) -> Plan[str]:
    return (yield Run(("docker", "image", "inspect", "--format", "{{.Id}}", image), "quiet")).text.strip()


def _keep(talk: Talk, wanted: Wanted, ours: Ours, containers: Containers) -> Plan[bool]:
    """Ours is as it should be: leaves it, or starts it. False: it has to be made again."""
    if ours.state == "running":
        yield say(f"{NAME} runs, and nothing has changed")
        return True
    if ours.state != "exited":
        return False
    yield from talk.permit()
    yield say(f"starting {NAME} again")
    yield from require_port(wanted.port, containers, talk.facts.shell_root)
    if (yield from talk.change(("docker", "start", NAME), "captured")).code:
        raise Refusal("it could not be started.", MEND)
    return True


def _run(wanted: Wanted, replacing: bool) -> Plan[None]:
    done = yield Run(wanted.call, "errors")
    words = done.text.strip()
    if not done.code:
        if words:
            yield say(f"(Docker says: {words})")  # that it cannot limit memory, mostly
        return
    if replacing:
        yield UndoNow()
    elif (yield from look(building=False)).ours:
        # It may have left one behind; or somebody else has made one of that name meanwhile, which refuses.
        yield Run(("docker", "rm", "-f", "--volumes", NAME), "merged")
    raise run_refusal(words, wanted.port)


def _clear_up(talk: Talk, containers: Containers) -> Plan[Ours | None]:
    """After a run that was killed while it replaced the container. Ours, under its name again."""
    ours = containers.ours
    if ours and ours.name == ASIDE:
        yield from talk.permit()
        yield say(f"a run before was cut short; giving {ASIDE} its name back")
        if (yield from talk.change(("docker", "rename", ASIDE, NAME))).code:
            raise Refusal("the name could not be changed.", MEND)
    elif containers.leftover:
        yield from talk.permit()
        yield from _remove_aside(talk)
    return ours


def way_back(was_up: bool) -> tuple[Undo, ...]:
    """From wherever a run ends: all as it was."""
    deeds = [
        Undo(("docker", "rm", "-f", "--volumes", NAME), (ASIDE, NAME), OWNER),
        Undo(
            ("docker", "rename", ASIDE, NAME),
            (ASIDE,),
            OWNER,
            failed=f"The container before is kept, stopped, as {ASIDE}.",
        ),
    ]
    if was_up:
        failed = f"The container before could not be started again: docker start {NAME}"
        deeds.append(
            Undo(("docker", "start", NAME), (NAME,), OWNER, done="The container before runs again.", failed=failed)
        )
    else:
        deeds.append(Undo(("true",), done="The container before is there again, as it was."))
    return tuple(deeds)


def _set_aside(talk: Talk, ours: Ours) -> Plan[None]:
    """Ours, stopped when it has answered what it has, gets another name until the new one runs."""
    yield say(f"replacing {NAME}: its image, its settings or its state are not what they should be")
    if not talk.options.dry:
        yield Arm(way_back(ours.up))
    calls: list[tuple[tuple[str, ...], str]] = []
    if ours.state == "paused":
        calls.append((("docker", "unpause", NAME), "stopped"))
    if ours.up:
        # -t, as Docker 28 has another long name for it than those before.
        calls.append((("docker", "stop", "-t", str(PATIENCE_S), NAME), "stopped"))
    calls.append((("docker", "rename", NAME, ASIDE), "set aside"))
    for call, what in calls:
        if (yield from talk.change(call, "captured")).code:
            raise Refusal(f"the old container could not be {what}.", MEND)


def _remove_aside(talk: Talk) -> Plan[None]:
    """The new one has its place."""
    if not talk.options.dry:
        yield Arm()
    if (yield from talk.change(("docker", "rm", "-f", "--volumes", ASIDE), "captured")).code:
        yield say(f"(the old container could not be removed: docker rm -f {ASIDE})")
