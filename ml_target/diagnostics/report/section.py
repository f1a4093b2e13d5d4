"""A section of the report, made in a thread of its own, guarded and with a time limit."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Section:
    """`text`: preformatted lines. `wrong` and `right`: its lines in the summary.

    `most`: how many characters the section may have; `keep_end`: a longer one keeps its end, not its start.
    """

    title: str
    text: str = ""
    wrong: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    most: int = 4000
    keep_end: bool = False

    def bounded(self) -> str:
        """The text, cut to its limit, with a note of how much was left out."""
        if len(self.text) <= self.most:
            return self.text
        left_out = f"[{len(self.text) - self.most} characters left out]"
        if self.keep_end:
            return f"{left_out}\n{self.text[-self.most :].partition(chr(10))[2]}"
        return f"{self.text[: self.most].rpartition(chr(10))[0]}\n{left_out}"


def guarded(title: str, make: Callable[[], Section], seconds: float) -> Section:
    """What `make` returns; if it fails or takes longer, a section that says so. Never raises.

    It runs in a thread that is abandoned at the time limit: a read from a device may never return.
    """
    answers: queue.SimpleQueue[Section] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(make())
        except BaseException as error:  # whatever it is, the other sections are still useful
            words = f"{type(error).__name__}: {error}"
            answers.put(Section(title, f"This part of the report failed: {words}", [f"{title}: failed ({words})"]))

    threading.Thread(target=run, daemon=True, name=f"report {title}").start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        words = f"no answer within {seconds:g} s"
        return Section(title, f"This part of the report gave {words}.", [f"{title}: {words}"])
