"""`python3 -m ml_target.setup.serve`: the question about the library, for `./setup.sh serve`, which asks it once.

What people read goes to standard error. Standard output has the settings to serve with, NAME=value, a line each; where
the exit code is 1, it has what is wrong, and the lines with the remedy. It needs only Python itself.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ml_target.config import PROJECT, choose_engine
from ml_target.log.terminal import replace_unprintable
from ml_target.setup import note
from ml_target.setup.facts import Facts
from ml_target.setup.library import ask
from ml_target.setup.options import Options, Talk
from ml_target.setup.settings import in_words, words_in
from ml_target.setup.steps import Answer, Ask, Err, Out, Plan, Refusal, Step, Write, say

NAME, CALL = ".serve-settings", "./setup.sh serve"
REFUSED, INTERRUPTED = 1, 130


def answered(facts: Facts) -> Plan[Mapping[str, str]]:
    """The settings of the answer, kept before or given now; what the environment has stays. Raises Refusal."""
    file, told = facts.project / NAME, facts.given("CLIP_BACKEND").strip()
    line = note.read(facts.project, NAME, "what was answered about the library")
    if not line and (told or not facts.asks):
        return {}
    kept = words_in(line)
    if not line:
        engine = choose_engine(facts.given("ENGINE").strip().lower(), facts.root)
        kept = dict((yield from ask(Talk(facts, Options()), engine, "", CALL)))
        yield from _keep(file, in_words(kept))
    settings = {
        name: value
        for name, value in kept.items()
        if name not in facts.environment or (name == "CLIP_BACKEND" and not told)
    }
    if line and settings:
        yield say(f"as answered before: {in_words(settings)} (from {file}; delete that to be asked again)")
    return settings


def _keep(file: Path, line: str) -> Plan[None]:
    if (yield Write(str(file), f"{line}\n")).code:
        yield say(f"(this could not be kept in {file}; to be asked nothing the next time: {line} {CALL})")
    else:
        yield say(f"(kept in {file} for {CALL}; another start, such as systemd's, has to be given it: {line})")


def at_terminal() -> bool:
    """Is there somebody to answer? Not where this runs in the background: to read from the terminal would stop it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # another session's terminal
        return False


def seen() -> Facts:
    """As far as the question needs them."""
    asks = at_terminal()
    return Facts(
        arguments=(),
        environment=os.environ,
        project=PROJECT,
        root=Path("/"),
        shell_root="",
        machine="",
        kernel="",
        user=os.getuid(),
        asks=asks,
        sees=asks,
        nodes=(),
    )


def carry_out(step: Step) -> Answer:
    """On the terminal. Raises TypeError for a step that the question does not have."""
    match step:
        case Out(text) | Err(text):
            print(text, file=sys.stderr)
        case Ask(prompt):
            print(prompt, end="", file=sys.stderr, flush=True)
            try:
                line = sys.stdin.readline()
            except UnicodeDecodeError:
                line = "?\n"  # which is no model's name, so it is asked again
            return Answer(0, line.rstrip("\n")) if line else Answer(1)
        case Write(path, text):
            try:
                Path(path).write_text(text, encoding="utf-8")
            except OSError:
                return Answer(1)
        case _:
            raise TypeError(step)
    return Answer()


def main() -> int:
    replace_unprintable()
    steps = answered(seen())
    answer: Answer | None = None
    try:
        while True:
            answer = carry_out(steps.send(answer))  # type: ignore[arg-type]  # the first is None
    except StopIteration as end:
        words = [f"{name}={value}" for name, value in end.value.items()]
    except Refusal as refusal:
        print(refusal.reason, *refusal.remedies, sep="\n")
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    print(*words, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
