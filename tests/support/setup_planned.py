"""A host on which set-up is only planned: the planner runs in this process, and this plays the shell.

What a step does is what scripts/setup_worker.sh does; `tests/setup` tries that one.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from docker_standin import Reply
from setup_host import SetupHost
from setup_runs import Done

from ml_target.setup.facts import Facts, Node
from ml_target.setup.plan import plan
from ml_target.setup.proof import Clock
from ml_target.setup.steps import (
    Answer,
    Arm,
    Ask,
    CheckDocker,
    Err,
    Out,
    Ping,
    Refusal,
    Run,
    Step,
    Undo,
    UndoNow,
    Write,
)

Tool = Callable[[Sequence[str]], Answer]


class PlannedHost(SetupHost):
    """As SetupHost, without processes. `user`, `umask`: of whoever runs it; `tools`: commands beside docker."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.user = 0
        self.machine, self.kernel = "x86_64", "6.8.0"
        self.answers = True
        """Whether the worker answers, after so many pings."""
        self.ready_after = 0
        self.groups: dict[str, str] = {}
        self.tools: dict[str, Tool] = {
            "cat": _cat,
            "df": lambda words: Answer(0, "Filesystem\n/dev/sda 999999999 1 99999999 1% /\n"),
            "stat": lambda words: Answer(0, "0:0\n"),
            "test": lambda words: Answer(int(not Path(words[-1]).is_dir())),
            "true": lambda words: Answer(),
        }
        self.seconds = 0.0
        self._environment: Mapping[str, str] = {}

    def _check_code_out(self) -> None:
        """Code of its own, that a test may change."""
        (self.checkout / "ml_target/api").mkdir(parents=True)
        (self.checkout / "ml_target/api/app.py").write_text("code")

    def _equip(self) -> None:
        """None: no process is started here."""

    def plan(self, *arguments: str, asks: Sequence[str] | None = None, **environment: str) -> Done:
        """A run. `asks`: what somebody at the terminal types, line by line; None: there is nobody."""
        self._docker.calls = []
        given = {"PATH": os.environ["PATH"], "IMMICH_PORT": "65000", **environment}
        self._environment = given
        return _Conversation(self, list(asks or ())).run(self.facts(arguments, given, asks is not None))

    def facts(self, arguments: Sequence[str], environment: Mapping[str, str], asks: bool) -> Facts:
        return Facts(
            arguments=tuple(arguments),
            environment=environment,
            project=self.checkout,
            root=self.root,
            shell_root=str(self.root),
            machine=self.machine,
            kernel=self.kernel,
            user=self.user,
            asks=asks,
            sees=asks,
            nodes=tuple(self._nodes()),
        )

    def _nodes(self) -> list[Node]:
        found = []
        for path in sorted(self.root.glob("dev/hailo[0-9]*")):
            status, name = path.stat(), f"/dev/{path.name}"
            found.append(Node(name, status.st_mode & 0o777, self.groups.get(name, str(status.st_gid))))
        return found

    def run(self, *arguments: str, **environment: str) -> Done:
        return self.plan(*arguments, **environment)

    def run_in_terminal(self, answers: str, *arguments: str, **environment: str) -> Done:
        return self.plan(*arguments, asks=answers.splitlines(), **environment)

    # ------------------------------------------------------------------ shell

    def carry_out(self, words: Sequence[str]) -> Reply:
        """A command."""
        if words[0] == "docker":
            reply = self._docker.answer(self.checkout, list(words[1:]))
            return _script(reply, self._environment) if reply.script else reply
        done = self.tools[words[0]](words)
        return Reply(done.text, code=done.code)


class _Conversation:
    """With the planner."""

    def __init__(self, host: PlannedHost, typed: list[str]) -> None:
        self._host, self._typed = host, typed
        self._out: list[str] = []
        self._err: list[str] = []
        self._undo: list[Undo] = []

    def run(self, facts: Facts) -> Done:
        clock = Clock(lambda: self._host.seconds, self._sleep)
        steps, answer, code = plan(facts, clock), None, 0
        try:
            while True:
                step = steps.send(answer)  # type: ignore[arg-type]  # the first is None
                answer = self._step(step)
        except StopIteration:
            pass
        except Refusal as refusal:
            code = 1
            self._err += [f"\nsetup.sh: {refusal.reason}", *(f"    {line}" for line in refusal.remedies)]
        self._way_back()
        words = ["\n".join([*lines, ""]) if lines else "" for lines in (self._out, self._err)]
        return Done(subprocess.CompletedProcess([], code, *words))

    def _sleep(self, seconds: float) -> None:
        self._host.seconds += seconds

    def _step(self, step: Step) -> Answer:
        match step:
            case Out(text):
                self._out.append(text)
            case Err(text):
                self._err.append(text)
            case CheckDocker():
                return Answer(0, "Docker version 99.9, stand-in")
            case Run(words, mode):
                return self._run(words, mode)
            case Ask(prompt):
                self._err.append(prompt)
                return Answer(0, self._typed.pop(0)) if self._typed else Answer(1)
            case Ping():
                self._host.ready_after -= 1
                return Answer(int(not self._host.answers or self._host.ready_after >= 0))
            case Write(path, text):
                Path(path).write_text(text)
            case Arm(deeds):
                self._undo = list(deeds)
            case UndoNow():
                self._way_back()
            case _:
                raise AssertionError(step)
        return Answer()

    def _run(self, words: Sequence[str], mode: str) -> Answer:
        reply = self._host.carry_out(words)
        out, err = reply.out.rstrip("\n"), reply.err.rstrip("\n")
        both = f"{reply.out}{reply.err}"
        match mode:
            case "shown" | "logged":
                self._out += [text for text in (out, err) if text and mode == "logged"] or ([out] if out else [])
                self._err += [err] if err and mode == "shown" else []
                return Answer(reply.code, both if mode == "logged" else "")
            case "captured":
                self._err += [err] if err else []
                return Answer(reply.code, reply.out)
            case "quiet":
                return Answer(reply.code, reply.out)
            case "merged":
                return Answer(reply.code, both)
            case "errors":
                return Answer(reply.code, reply.err)
            case "complaint":
                self._err += [both.rstrip("\n")]
                return Answer(reply.code)
        raise AssertionError(mode)

    def _way_back(self) -> None:
        while self._undo:
            deed = self._undo.pop(0)
            containers = self._host.state["containers"]
            if all(containers.get(name, {"labels": {}})["labels"].get(deed.label) == "1" for name in deed.owned):
                done = not self._host.carry_out(deed.words).code
                words = deed.done if done else deed.failed
                self._out += [f"    {words}"] if words else []
                if not done and words:
                    self._undo = []


def _cat(words: Sequence[str]) -> Answer:
    path = Path(words[-1])
    return Answer(0, path.read_text()) if path.is_file() else Answer(1)


def _script(reply: Reply, environment: Mapping[str, str]) -> Reply:
    call = ["bash", "-c", reply.bash()]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    return Reply(done.stdout, done.stderr, done.returncode)
