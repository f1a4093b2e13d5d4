"""The options of this run, and the questions before a change."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from ml_target.catalogue.needs import EngineSetting
from ml_target.setup.facts import Facts
from ml_target.setup.steps import Answer, Ask, Mode, Plan, Refusal, Run, say, shown

FLAGS = {
    "-y": "yes",
    "--yes": "yes",
    "--dry-run": "dry",
    "--cpu": "cpu",
    "--no-start": "no_start",
    "--missing-ok": "missing_ok",
    "--fetch-hailort": "fetch_hailort",
}
VALUES = {"--clip-backend": "backend", "--chip": "chip", "--image": "image"}
FORMS = {"--image": r"[a-z0-9][\w.:/@-]*"}
DRY = "To see what it would do: ./setup.sh --dry-run"


@dataclass(slots=True)
class Options:
    """What was asked for on the command line; `cpu` by ENGINE, too."""

    yes: bool = False
    dry: bool = False
    cpu: bool = False
    no_start: bool = False
    missing_ok: bool = False
    fetch_hailort: bool = False
    backend: str = ""
    chip: str = ""
    image: str = ""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Raises Refusal."""
    options, rest = Options(), list(arguments)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option in FLAGS and not equals:
            setattr(options, FLAGS[option], True)
        elif option in VALUES:
            value = value if equals else rest.pop(0) if rest else ""
            if not re.fullmatch(FORMS.get(option, r"[\w,]+"), value):
                raise Refusal(f"{option} takes a name; not '{value}'.", "./setup.sh --help lists the options.")
            setattr(options, VALUES[option], value)
        else:
            raise Refusal(f"there is no option '{option}{equals}{value}'.", "./setup.sh --help lists those there are.")
    engine = environment.get("ENGINE", "")
    if engine not in ("", *get_args(EngineSetting)):
        raise Refusal(f"ENGINE={engine} is not known.", "Leave it out, or ENGINE=cpu, which is the same as --cpu.")
    options.cpu |= engine == "cpu"
    for option in ("chip", "fetch_hailort"):
        if options.cpu and getattr(options, option):
            name = f"--{option.replace('_', '-')}"
            raise Refusal(f"{name} is about a card, --cpu is without one.", "Leave one of them out.")
    return options


@dataclass(slots=True)
class Talk:
    """Whom this run asks, and what was said so far. `what`: the changes that the first question is about."""

    facts: Facts
    options: Options
    what: str = ""
    permitted: bool = False

    def confirm(self, question: str) -> Plan[bool]:
        """Is the answer yes? Refuses where there is nobody to ask."""
        if self.options.dry or self.options.yes:
            yield say(f"{question} Yes, as told beforehand")
            return True
        if not self.facts.asks:
            raise Refusal(
                f"this needs an answer, and there is nobody to ask: {question}",
                "Run it in a terminal; or say yes to everything beforehand: ./setup.sh --yes",
                DRY,
            )
        answer = yield Ask(f"    {question} [Y/n] ")
        return answer.code == 0 and answer.text.lower() in ("", "y", "yes")

    def permit(self) -> Plan[None]:
        """Asks once, before the first change."""
        if self.permitted or self.options.dry:
            return
        if not (yield from self.confirm(self.what)):
            raise Refusal("stopped; nothing was changed.", DRY)
        self.permitted = True

    def change(self, words: Sequence[str], mode: Mode = "shown") -> Plan[Answer]:
        """Runs a command that changes something, or only shows it."""
        if self.options.dry:
            yield shown(words)
            return Answer()
        return (yield Run(tuple(words), mode))
