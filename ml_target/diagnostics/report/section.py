"""A section of the report, and how it is made: guarded, within its time, in a thread of its own."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Section:
    """`text`: preformatted lines. `wrong` and `right`: what the summary says of it, a line each.

    `most`: characters that the section may have; `keep_end` says which end of a longer one is kept.
    """

    title: str
    text: str = ""
    wrong: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    most: int = 4000
    keep_end: bool = False

    def bounded(self) -> str:
        """The text within its bound, with words for what was left out."""
        if len(self.text) <= self.most:
            return self.text
        left_out = f"[{len(self.text) - self.most} characters left out]"
        if self.keep_end:
            return f"{left_out}\n{self.text[-self.most :].partition(chr(10))[2]}"
        return f"{self.text[: self.most].rpartition(chr(10))[0]}\n{left_out}"


def guarded(title: str, make: Callable[[], Section], seconds: float) -> Section:
    """What `make` returns; where it fails or takes longer, a section that says so. Never raises.

    It runs in a thread that is left behind when its time is over: a read from a device may never return.
    """
    answers: queue.SimpleQueue[Section] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(make())
        except BaseException as error:  # whatever it is: the other sections are worth having
            words = f"{type(error).__name__}: {error}"
            answers.put(Section(title, f"This part of the report failed: {words}", [f"{title}: failed ({words})"]))

    threading.Thread(target=run, daemon=True, name=f"report {title}").start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        words = f"no answer within {seconds:g} s"
        return Section(title, f"This part of the report gave {words}.", [f"{title}: {words}"])
