"""Commands for comparisons that cannot be made here; for the host, if this runs in a container."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ml_target import remedies
from ml_target.catalogue.needs import chosen
from ml_target.config import Settings, setting_names, setting_text
from ml_target.diagnostics.card import library_version
from ml_target.hailort.packages import packages
from ml_target.remedies import CONTAINER, command
from ml_target.system.cards import FIRST_NODE, nodes

STOP = f"docker stop -t 30 {CONTAINER}"
"""Time for the worker to answer its requests; Docker's own ten seconds are too short. `-t`, as its long name changed
with Docker 28."""

SAME_IMAGE = f"\"$(docker inspect --format '{{{{.Image}}}}' {CONTAINER})\""
"""The worker's own, on the host's shell."""

KEPT_BACK = (
    "models_mirror", "hf_endpoint", "hailort_source", "host", "port", "log_level", "log_format", "try_it", "page_hosts",
)  # fmt: skip
"""Settings that do not affect the checks; a URL may contain a password."""


def with_networks(settings: Settings, wanted: Sequence[str]) -> str:
    """How to fetch the files that the processor needs, and then compare."""
    return _fetch_and_run(settings, wanted) if remedies.fetched_outside() else remedies.fetch(*wanted)


def in_its_place(settings: Settings, wanted: Sequence[str]) -> str:
    """How to compare while the worker holds the card. `wanted`: arguments of the fetch needed first; empty for none."""
    if not remedies.in_image():
        return f"Stop it (a container: {STOP}), then run this again: {command('selfcheck')}"
    if wanted and remedies.fetched_outside():
        return _fetch_and_run(settings, wanted)
    inside = f"{remedies.fetch(*wanted)}; " if wanted else ""
    return f"Stop the worker and run this in its place: {inside}{_instead(settings, others=False)}"


def report_in_its_place(settings: Settings) -> str:
    """How to get the report with selfcheck and times, while the worker holds the card."""
    if not remedies.in_image():
        return f"Stop the worker, then run this again: {command('report')}"
    run = in_a_container(settings, others=False, name="report")
    return f"Run it in the worker's place, on the host: {STOP}; {run} > report.md; docker start {CONTAINER}"


def _fetch_and_run(settings: Settings, wanted: Sequence[str]) -> str:
    where = "in this project's folder"
    if remedies.mounted():
        where += " (MODELS_DIR=FOLDER before it names the one that is mounted here)"
    fetch = remedies.host_fetch(*wanted, settings=settings)
    return f"On the host, {where}: {fetch}; {_instead(settings, others=not remedies.mounted())}"


def _instead(settings: Settings, others: bool) -> str:
    """Stops the worker even if the card is free now: it may not be by the time this is read."""
    then = "./setup.sh, in this project's folder" if _verdict_is_kept(settings) else f"docker start {CONTAINER}"
    return f"{STOP}; {in_a_container(settings, others)}; {then}"


def _verdict_is_kept(settings: Settings) -> bool:
    """Whether the run writes a verdict into the host's models/, which the image then has to be built with."""
    return any(network.template for network in chosen(settings)) and not remedies.mounted()


def in_a_container(settings: Settings, others: bool, root: Path = Path("/"), name: str = "selfcheck") -> str:
    """`docker run` for the command `name`, with these settings. `others`: with the models of the host's folder."""
    cards = nodes(root) or [root / FIRST_NODE.lstrip("/")]
    groups = {node.stat().st_gid for node in cards if node.exists()} or {0}
    words = ["docker run --rm"]
    words += [f"--device=/dev/{node.name}:/dev/{node.name}" for node in cards]
    words += [f"--group-add={group}" for group in sorted(groups)]
    from_folder = bool(packages(settings.hailort_dir))
    if remedies.mounted() or from_folder or settings.hailo_group_id:  # models, HailoRT, or the socket of its service
        words.append(f"--volumes-from {CONTAINER}")
    kept = name == "selfcheck" and _verdict_is_kept(settings)
    if others or kept:  # as the folder's owner: others may not be able to read it
        words.append(f'--user "$(stat -c %u:%g models)" -v "$PWD/models:/app/models{"" if kept else ":ro"}"')
    words += [f"-e {word}" for word in changed(settings)]
    # The image that holds HailoRT is named after it; the one that takes it from a folder may have any name.
    image = SAME_IMAGE if from_folder else f"{CONTAINER}:v{library_version() or 'VERSION'}"
    return " ".join([*words, image, "python3", remedies.PACKAGE, name])


def changed(settings: Settings) -> list[str]:
    """NAME=VALUE, quoted for a shell, for every setting that is not at its default."""
    found = []
    for item in fields(settings):
        text = setting_text(settings, item.name)
        if item.name not in KEPT_BACK and text != setting_text(Settings(), item.name):
            found.append(f"{setting_names(item.name)[0]}={shlex.quote(text)}")
    return found
