"""The images. Each that is built here carries a label with a hash of everything it was made from, so that nothing is
built again until something has changed.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from ml_target.setup.container import LABEL, NAME
from ml_target.setup.failures import build_refusal, pull_refusal
from ml_target.setup.options import Talk
from ml_target.setup.steps import Plan, Refusal, Run, say

INPUTS = f"{NAME}.inputs"
UBUNTU = "ubuntu:24.04"
BASE, WORKER = "Dockerfile.hailo-base", "Dockerfile.immich-ml-hailo"
IMAGES_MB = 3000
PROXIES = tuple(
    spelt(f"{kind}_proxy") for spelt in (str.upper, str.lower) for kind in ("http", "https", "ftp", "no", "all")
)
KEPT_OUT = ("models/", "hailo-rt-4/")
"""What Dockerfiles copy and is looked at apart."""

NO_MODELS = ("*.md", "*.part", "*.whole", "*.json.*", "checksums.json", "text_layouts.json")
"""In models/: on their way, or kept by the store and the worker; they follow the rest."""


class Images:
    """Those of this run. `base`: what the worker's begins with where it is for a card; `slim`: without models."""

    def __init__(self, talk: Talk, driver: str) -> None:
        """`driver`: its version, "" for the processor."""
        self._talk, self._project = talk, talk.facts.project
        self._driver = driver
        self._base_inputs = ""
        self._space_seen = False
        self.base = f"hailo-base:v{driver}" if driver else ""
        self.worker = f"{NAME}:v{driver}" if driver else f"{NAME}:cpu"
        self.slim = f"{self.worker}-slim"

    def build_base(self, packages: Sequence[str]) -> Plan[None]:
        """`packages`: HailoRT's files, from the project's folder."""
        chosen = self._talk.facts.given("BASE_IMAGE")
        arguments = [f"HAILORT_VERSION={self._driver}", *([f"BASE_IMAGE={chosen}"] if chosen else [])]
        there = [Path(name) for name in packages if (self._project / name).is_file()]  # they may be yet to fetch
        files = [*copied(self._project, BASE), *there]
        self._base_inputs = digest(self._project, files, arguments)
        yield from self._build(self.base, self._base_inputs, BASE, arguments)

    def build_slim(self) -> Plan[None]:
        """The worker without models, which fetches them."""
        yield from self._build_worker(self.slim, "none")

    def build_worker(self) -> Plan[None]:
        """The worker with what is in models/ now."""
        yield from self._build_worker(self.worker, "baked", models(self._project))

    def _build_worker(self, tag: str, which: str, words: Sequence[str] = ()) -> Plan[None]:
        if self._driver:
            arguments = [f"HAILORT_VERSION={self._driver}"]
        else:
            arguments = [f"BASE_IMAGE={self._talk.facts.given('BASE_IMAGE') or UBUNTU}"]
        if which != "baked":
            arguments.append(f"MODELS={which}")
        inputs = digest(self._project, copied(self._project, WORKER), [*arguments, which, self._base_inputs, *words])
        yield from self._build(tag, inputs, WORKER, arguments)

    def _build(self, tag: str, inputs: str, dockerfile: str, arguments: Sequence[str]) -> Plan[None]:
        there = yield Run(("docker", "image", "inspect", "--format", LABEL(INPUTS), tag), "quiet")
        if there.text.strip() == inputs:
            yield say(f"{tag} is there, and nothing has changed")
            return
        call = ["docker", "build", "-t", tag, "--label", f"{INPUTS}={inputs}"]
        for argument in (*arguments, *(name for name in PROXIES if self._talk.facts.given(name))):
            call += ["--build-arg", argument]
        call += ["-f", dockerfile, "."]
        # The label alone, to what a yes was given for: all else comes from the builder's cache.
        if tag == self._talk.facts.built and not (yield Run(tuple(call), "merged")).code:
            yield say(f"{tag} is there, built just now")
            return
        yield from self._talk.permit()
        yield from self.need_space()
        yield say(f"building {tag}")
        done = yield from self._talk.change(call, "logged")
        if done.code:
            last = "\n".join(done.text.splitlines()[-60:])
            base = self.base if dockerfile == WORKER else ""
            raise build_refusal(dockerfile, last, self._project, base)

    def pull(self, image: str) -> Plan[None]:
        """A published one, unless it is there."""
        self.worker = self.slim = image
        if not (yield Run(("docker", "image", "inspect", "--format", "{{.Id}}", image), "quiet")).code:
            yield say(f"{image} is there (docker pull {image} gets a newer one of that name)")
            return
        yield from self._talk.permit()
        yield from self.need_space()
        yield say(f"fetching {image}")
        done = yield from self._talk.change(("docker", "pull", image), "logged")
        if done.code:
            raise pull_refusal(image, done.text)

    def need_space(self) -> Plan[None]:
        """Once a run, and only when something is built or fetched."""
        if self._space_seen:
            return
        self._space_seen = True
        # Where Docker does not say where it keeps images, the build itself has to tell.
        told = yield Run(("docker", "info", "--format", "{{.DockerRootDir}}"), "quiet")
        if not told.code:
            yield from require_space(IMAGES_MB, told.text.strip(), "the images")


def require_space(megabytes: int, folder: str, what: str) -> Plan[None]:
    """Raises Refusal where the disk has less. Where the space is unknown, what writes there has to tell."""
    told = yield Run(("df", "-Pk", "--", folder), "quiet")
    row = (told.text.splitlines() or [""])[-1].split()
    if told.code or len(row) < 4 or not row[3].isdecimal():
        return
    free = int(row[3]) // 1024
    if free < megabytes:
        raise Refusal(
            f"{what} need about {megabytes} MB, and there are {free} MB free on the disk that holds {folder}.",
            "Free some (docker system df shows what Docker holds, df -h what the disks do), then run this again.",
            "On Unraid, Docker's own image can be enlarged: Settings, Docker, with Docker stopped.",
        )


# ---------------------------------------------------------------------- inputs


def copied(project: Path, dockerfile: str) -> list[Path]:
    """The Dockerfile and what its COPY lines name, below the project's folder."""
    found = [Path(dockerfile), Path(".dockerignore")]
    for line in (project / dockerfile).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if line.startswith("COPY ") and not any(word.startswith("--from=") for word in words):
            for word in words[1:-1]:
                if not word.startswith(("--", *KEPT_OUT)):
                    found += _files(project, word.rstrip("/"))
    return [path for path in found if (project / path).is_file()]


def _files(project: Path, pattern: str) -> Iterator[Path]:
    for top in sorted(project.glob(pattern)):
        if top.is_file():
            yield top.relative_to(project)
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                if not name.endswith(".pyc"):
                    yield (Path(folder) / name).relative_to(project)


def models(project: Path) -> list[str]:
    """A line for each file in models/: its name, size and time."""
    found = []
    for file in sorted((project / "models").iterdir()):
        if file.is_file() and not file.name.startswith(".") and not any(fnmatch(file.name, form) for form in NO_MODELS):
            status = file.stat()
            found.append(f"{file.name} {status.st_size} {int(status.st_mtime)}")
    return found


def digest(project: Path, files: Sequence[Path], words: Sequence[str]) -> str:
    """Of the content of the files, their names, and the words."""
    whole = hashlib.sha256()
    for path in files:
        content = hashlib.sha256()
        with (project / path).open("rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
        whole.update(f"{path}\0{content.hexdigest()}\0".encode())
    whole.update("\0".join(words).encode())
    return whole.hexdigest()[:32]
