"""From a bare host to a running container, step by step."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ml_target.setup import card, container, hailort, library, models, note, proof, settings, words
from ml_target.setup.asking import CONFINED, hailort_mounts
from ml_target.setup.card import Using
from ml_target.setup.container import Containers
from ml_target.setup.facts import Facts
from ml_target.setup.images import Images
from ml_target.setup.images import models as models_there
from ml_target.setup.options import Talk, parse
from ml_target.setup.packages import FOLDER, names
from ml_target.setup.replacing import PATIENCE_S, Wanted, start
from ml_target.setup.settings import Chosen
from ml_target.setup.steps import CheckDocker, Out, Plan, Refusal, Run, say, shown, title

USER = 1000
"""The worker's, in the image."""


def plan(facts: Facts, clock: proof.Clock | None = None) -> Plan[None]:
    """All of it. Raises Refusal."""
    options = parse(facts.arguments, facts.environment)
    settings.refuse_useless(facts)
    proof.patience(facts)  # now, and not when the worker has been replaced
    _require_mountable(facts.project)
    talk = Talk(facts, options)
    version = (yield CheckDocker()).text
    there = yield from container.look(options.no_start)
    noted = "" if there.ours else note.read(facts.project)
    chosen = settings.choose(facts, options, there.ours.before if there.ours else settings.words_in(noted))
    steps = Titles(options.cpu, bool(chosen.image))
    yield steps.next("Docker and this host")
    yield say(version)
    machine = yield from _machine(facts)
    yield from _look_over(talk, chosen, there, noted)
    using: Using | None = None
    if not options.cpu:
        yield steps.next("Card, driver, HailoRT's packages")
        using = yield from _use_card(talk, chosen, machine)
    yield from library.ask_about_change(talk, chosen)

    yield steps.next("Image")
    images = Images(talk, using.driver if using else "")
    yield from _image(images, chosen, using, machine)

    yield steps.next("Models")
    chip = (yield from models.find_chip(talk, chosen, using, images.slim)) if using else ""
    yield from library.ask_about_library(talk, chosen, chip)
    complete = yield from models.provide(talk, chosen, chip, images.slim)

    if not chosen.image:
        yield steps.next("Image with the models")
        yield from images.build_worker()

    yield steps.next("Container")
    wanted = _wanted(facts, chosen, using, images.worker)
    if options.no_start:
        yield say("not started, as told with --no-start. To start it:")
        yield shown(wanted.call)
    else:
        doctor = proof.doctor_line(images.worker, _card(facts, chosen, using))
        yield from _run(talk, wanted, doctor, clock or proof.Clock())
        yield steps.next("Test")
        yield from proof.test(talk, doctor)
    yield from words.closing(facts, options, chosen, images.worker, chip, not complete)


def _require_mountable(project: Path) -> None:
    if ":" in str(project):
        raise Refusal(f"the folder {project} has a colon in its name, which Docker's -v cannot take.", "Rename it.")


def _use_card(talk: Talk, chosen: Chosen, machine: str) -> Plan[Using]:
    """The card, with HailoRT's packages for its driver. Raises Refusal."""
    using = card.check(talk.facts, chosen.settings)
    yield say(using.words)
    yield from hailort.provide(talk, chosen, using.driver, machine)
    return using


def _image(images: Images, chosen: Chosen, using: Using | None, machine: str) -> Plan[None]:
    """The image that the models are fetched with: one that is taken as it is, or the slim one, built here."""
    if chosen.image:
        yield from images.pull(chosen.image)
        return
    if using:
        yield from images.build_base([f"{FOLDER}/{name}" for name in names(using.driver, machine)])
    yield from images.build_slim()


def _run(talk: Talk, wanted: Wanted, doctor: str, clock: proof.Clock) -> Plan[None]:
    """The container, started and ready; its settings are kept. `doctor`: the line that looks at the card."""
    yield from start(talk, wanted)
    if not talk.options.dry:
        yield from note.write(talk.facts.project, wanted.settings)
    yield from proof.wait_until_ready(talk, wanted.port, doctor, clock)


class Titles:
    """Counts the steps: none for a card on the processor, and none for a second image where one is taken as it is."""

    def __init__(self, cpu: bool, taken: bool) -> None:
        self._all = 7 - cpu - taken
        self._number = 0

    def next(self, text: str) -> Out:
        self._number += 1
        return title(self._number, self._all, text)


def _machine(facts: Facts) -> Plan[str]:
    told = yield Run(("docker", "version", "--format", "{{.Server.Arch}}"), "quiet")
    machine = card.machine(facts.machine, told.text.strip() if not told.code else "")
    yield say(facts.machine)
    return machine


def _look_over(talk: Talk, chosen: Chosen, there: Containers, noted: str) -> Plan[None]:
    """Says what the settings are, and refuses those that are not right, and a port that is taken."""
    facts, options = talk.facts, talk.options
    if noted:
        yield say(f"there is no container {container.NAME}; as before: {noted}")
        yield say(f"(from {facts.project / note.NAME}; delete that file to forget them)")
    verb = "Fetch" if chosen.image else "Build"
    talk.what = f"{verb} what is missing, and start the container {container.NAME} on port {chosen.port}?"
    if options.no_start:
        talk.what = f"{verb} what is missing?"
    image = [f"image {chosen.image}"] if chosen.image else []
    yield say(", ".join([f"container {container.NAME}", f"port {chosen.port}", *image, " ".join(chosen.words)]))
    yield from settings.require_valid(facts, options, chosen)
    if not options.no_start:
        yield from container.require_port(chosen.port, there, facts.shell_root)


def _card(facts: Facts, chosen: Chosen, using: Using | None) -> list[str]:
    """Of docker run: the card, and HailoRT where the image has none."""
    if not using:
        return []
    return [*using.options, *(hailort_mounts(facts) if chosen.image else [])]


def _wanted(facts: Facts, chosen: Chosen, using: Using | None, image: str) -> Wanted:
    """The container, and the label with all that decides whether it is the one that is there."""
    label = [f"IMMICH_PORT={chosen.port}"]
    call = ["docker", "run", "-d", *_card(facts, chosen, using), "--publish", f"{chosen.port}:3003"]
    if chosen.image:
        _require_readable(facts)
        call += ["-v", f"{facts.project}/models:/app/models:ro"]
        label.append(f"IMAGE={chosen.image}")
    if chosen.memory_chosen:
        label.append(f"CONTAINER_MEMORY={chosen.memory_chosen}")
    label += [*chosen.words, f"LIMIT={chosen.memory}"]
    if using:
        label += [f"DEVICE={','.join(using.nodes)}", f"GROUP={','.join(using.groups)}"]
    if chosen.image:
        label.append(f"FILES={hashlib.sha256(repr(_mounted(facts)).encode()).hexdigest()[:16]}")
    for word in chosen.words:
        call += ["-e", word]
    call += [*CONFINED, "--memory", chosen.memory, "--name", container.NAME, "--restart", "unless-stopped"]
    call += ["--stop-timeout", str(PATIENCE_S), "--label", f"{container.OWNER}=1"]
    call += ["--label", f"{container.SETTINGS}={' '.join(label)}", image]
    return Wanted(tuple(call), " ".join(label), image, chosen.port)


def _mounted(facts: Facts) -> list[str]:
    """What a container that mounts the models would have to be restarted for."""
    packages = sorted((facts.project / FOLDER).glob("hailort[-_]*"))
    return [*models_there(facts.project), *(f"{file.name} {file.stat().st_size}" for file in packages)]


def _require_readable(facts: Facts) -> None:
    """Raises Refusal for a folder that is mounted and that the worker's user may not read."""
    for file in _files(facts):
        status = file.stat()
        wanted = 0o5 if file.is_dir() else 0o4
        if status.st_mode & wanted != wanted and not (status.st_uid == USER and status.st_mode >> 6 & wanted == wanted):
            raise Refusal(
                f"{file} cannot be read by the container's user {USER}.",
                f"Let everybody read what is there: chmod -R a+rX {facts.project}/models {facts.project}/{FOLDER}",
            )


def _files(facts: Facts) -> Iterator[Path]:
    for folder in (facts.project / "models", facts.project / FOLDER):
        yield folder
        yield from (file for file in sorted(folder.iterdir()) if file.name.endswith((".hef", ".onnx", ".deb", ".whl")))
