"""A stand-in for the docker command, as far as set-up uses it: it keeps images and containers in the tests' memory.

What the stand-in does not know fails, so that setup.sh cannot come to rely on it unnoticed.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import standin_command
from project import PROJECT

CONTAINER = "immich-ml-hailo"
WITH_VALUE = {"-t", "--label", "--build-arg", "--file", "-e", "-v", "--user", "--network", "--entrypoint", "--publish"}
WITH_VALUE |= {"--name", "--restart", "--stop-timeout", "--format", "--type", "--tail", "--memory", "--pids-limit"}
WITH_VALUE |= {"--cap-drop", "--security-opt", "-w", "--tmpfs"}


class FailedError(Exception):
    """A call that ends with words on standard error and an exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Reply:
    """What a call prints, how it ends, and what it does besides, as lines of bash. `signals`: for whoever calls."""

    out: str = ""
    err: str = ""
    code: int = 0
    script: str = ""
    signals: tuple[int, ...] = ()

    def bash(self) -> str:
        """The whole as lines of bash."""
        lines = [
            f"printf %s {shlex.quote(text)} {where}" for text, where in ((self.out, ""), (self.err, ">&2")) if text
        ]
        lines += [self.script] if self.script else []
        lines += [f"exit {self.code}"] if self.code else []
        return "\n".join([*lines, *(f"kill -{number} $PPID; kill -{number} $$" for number in self.signals)])


def says(text: object) -> Reply:
    return Reply(f"{text}\n")


class Call:
    """The words after the command: options by name, and the rest from the first that is none."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder = folder
        """Where it was called."""
        self.options: dict[str, list[str]] = {}
        while words and words[0].startswith("-"):
            name, equals, value = words[0].partition("=")
            words = words[1:]
            if not equals and name in WITH_VALUE:
                value, words = words[0], words[1:]
            self.options.setdefault(name, []).append(value)
        self.rest = words

    def pairs(self, name: str) -> dict[str, str]:
        return {key: value for key, _, value in (text.partition("=") for text in self.options.get(name, []))}

    def one(self, name: str) -> str:
        return self.options[name][0]


class DockerStandIn:
    """The docker of one host. `state` is what it has and does; `calls` are the words of each call.

    images: tag -> id and labels; containers: name -> what docker inspect would tell; faults: beginning of a call ->
    exit code, words, and the labels of a container that is left behind, or None; interrupted: beginning of a call ->
    signal that whoever calls gets once the call has done its work, and the command too (2 as Ctrl-C, 9 as a power cut);
    arch, chip, security; packages: what `hailort fetch` fetches; registry: images that can be pulled, None: all;
    missing: lines of the store's answer, None: the real store is run, with its python_path; dies: the last words of a
    container that ends at once, or None; warns: what is said when a container is started.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] = {
            "images": {},
            "containers": {},
            "faults": {},
            "interrupted": {},
            "arch": "amd64",
            "chip": "hailo8",
            "security": "[name=seccomp]",
            "python_path": "",
            "missing": ["x.hef (faces)", "1 to fetch: 4.0 MB"],
            "packages": [],
            "registry": None,
            "dies": None,
            "warns": None,
        }
        self.calls: list[list[str]] = []

    def command(self) -> str:
        """A script for the host's PATH."""
        return standin_command.script(lambda folder, words: self.answer(folder, words).bash())

    def answer(self, folder: Path, words: list[str]) -> Reply:
        """What the command has to do. `folder`: where it is called."""
        self.calls.append(words)
        line = " ".join(words)
        for beginning, (code, complaint, labels) in self.state["faults"].items():
            if line.startswith(beginning):
                if labels is not None:
                    self.state["containers"][CONTAINER] = {"labels": labels, "status": "created", **BARE}
                return Reply(err=f"{complaint}\n", code=code)
        name = words[0] if words[0] != "image" else " ".join(words[:2])
        if name == "build":  # elsewhere -f means force
            words = ["--file" if word == "-f" else word for word in words]
        try:
            does = COMMANDS[name](self.state, Call(folder, words[len(name.split()) :]))
        except FailedError as error:
            return Reply(err=f"{error}\n", code=error.code)
        signals = [number for beginning, number in self.state["interrupted"].items() if line.startswith(beginning)]
        return replace(does, signals=tuple(signals))


BARE = {"image": "x", "restarts": 0, "ports": "", "log": ""}


# -------------------------------------------------------------------- commands

State = dict[str, Any]


def version(state: State, call: Call) -> Reply:
    return says("Docker version 99.9, stand-in")


def server_version(state: State, call: Call) -> Reply:
    assert call.one("--format") == "{{.Server.Arch}}"
    return says(state["arch"])


def ps(state: State, call: Call) -> Reply:
    if "-a" not in call.options:
        assert call.one("--format") == "{{.ID}}"
        return Reply()
    assert call.one("--format") == "{{.Names}} {{.Ports}}"
    lines = []
    for name, container in state["containers"].items():
        lines.append(f"{name} {container['ports'] if container['status'] == 'running' else ''}")
    return says("\n".join(lines)) if lines else Reply()


def image_inspect(state: State, call: Call) -> Reply:
    image = state["images"].get(call.rest[0])
    if image is None:
        raise FailedError("\nError: No such image")
    wanted = call.one("--format")
    return says(image["id"] if wanted == "{{.Id}}" else image["labels"].get(wanted.split('"')[1], ""))


def image_remove(state: State, call: Call) -> Reply:
    for tag in call.rest:
        image = state["images"].get(tag)
        if image is None:
            raise FailedError(f"Error response from daemon: No such image: {tag}")
        if any(container["image"] == image["id"] for container in state["containers"].values()):
            raise FailedError(f"Error response from daemon: conflict: unable to remove {tag}: a container uses it")
        del state["images"][tag]
    return says("Deleted")


def build(state: State, call: Call) -> Reply:
    assert call.rest == ["."], "the context is the project"
    assert (call.folder / call.one("--file")).is_file()
    described = json.dumps(call.options, sort_keys=True)
    image = {"id": "sha256:" + hashlib.sha256(described.encode()).hexdigest(), "labels": call.pairs("--label")}
    state["images"][call.one("-t")] = image
    return says("Successfully built")


def run(state: State, call: Call) -> Reply:
    tag, *arguments = call.rest
    if tag not in state["images"]:
        raise FailedError(f"Unable to find image '{tag}' locally", 125)
    if "-d" in call.options:
        return _start(state, call, tag)
    assert "--rm" in call.options, "nothing is left behind"
    assert call.one("--entrypoint") == "python3"
    if arguments == ["-m", "ml_target.setup"]:
        return _plan(call)
    if arguments == ["-m", "ml_target", "doctor", "--chip"]:
        return says(state["chip"])
    if arguments[:3] == ["-m", "ml_target", "hailort"]:
        return _packages(state, call, arguments)
    assert arguments[:3] == ["-m", "ml_target", "models"]
    return _store(state, call, arguments)


def _start(state: State, call: Call, tag: str) -> Reply:
    name = call.one("--name")
    assert name not in state["containers"]
    host, _, inside = call.one("--publish").partition(":")
    state["containers"][name] = {
        "labels": call.pairs("--label"),
        "image": state["images"][tag]["id"],
        "ports": f"0.0.0.0:{host}->{inside}/tcp, [::]:{host}->{inside}/tcp",
        "status": "restarting" if state["dies"] else "running",
        "restarts": 1 if state["dies"] else 0,
        "log": state["dies"] or "ready",
        "environment": call.options.get("-e", []),
        "read_only": "--read-only" in call.options,
        "volumes": [text.rpartition(":")[2] for text in call.options.get("-v", [])],
    }
    return Reply("0123456789ab\n", f"{state['warns']}\n" if state["warns"] else "")


def _plan(call: Call) -> Reply:
    """The planner with the Python of the tests. It gets two folders to read, and neither network nor socket."""
    assert call.one("--network") == "none"
    assert "-i" in call.options
    folder = call.one("-w")
    volumes = [volume for volume in call.options["-v"] if ":" in volume]
    assert len(volumes) == 2
    assert all(volume.endswith(":ro") for volume in volumes)
    assert not any("docker" in volume.rpartition("/")[2] for volume in volumes)
    planner = shlex.join([sys.executable, "-S", "-B", *call.rest[1:]])
    return Reply(script=f"cd {shlex.quote(folder)}\nexec env -i {planner}")


def _store(state: State, call: Call, arguments: list[str]) -> Reply:
    mounts = {inside: host for host, inside, *_ in (text.split(":") for text in call.options["-v"] if ":" in text)}
    if state["missing"] is None:
        return _real_store(state, call, arguments, mounts)
    if arguments[3] == "missing":
        found = says("\n".join(state["missing"])) if state["missing"] else Reply()
        return replace(found, err=f"{state['warns']}\n" if state["warns"] else "")
    assert arguments[3] == "fetch"
    (Path(mounts["/app/models"]) / "fetched.hef").write_text("network")
    state["missing"] = []
    return Reply()


def _real_store(state: State, call: Call, arguments: list[str], mounts: dict[str, str]) -> Reply:
    """The real store with the Python of the tests; a variable that is handed on has its value from whoever calls."""
    passed = call.pairs("-e")
    settings = {name: shlex.quote(value) if value else f'"${name}"' for name, value in passed.items()}
    settings |= {
        "MODELS_DIR": shlex.quote(mounts["/app/models"]),
        "PATH": '"$PATH"',
        "PYTHONPATH": shlex.quote(state["python_path"]),
    }
    if mirror := mounts.get(passed.get("MODELS_MIRROR", "")):
        settings["MODELS_MIRROR"] = shlex.quote(mirror)
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    line = f"exec env -i {words} {shlex.join([sys.executable, *arguments])}"
    return Reply(script=f"cd {shlex.quote(str(PROJECT))}\n{line}")


def _packages(state: State, call: Call, arguments: list[str]) -> Reply:
    """`hailort fetch`: what state["packages"] names comes into the folder."""
    mounts = {inside: host for host, inside, *_ in (text.split(":") for text in call.options["-v"] if ":" in text)}
    assert arguments[3:6] == ["fetch", "--to", "/hailort"]
    for name in state["packages"]:
        (Path(mounts["/hailort"]) / name).write_text("!<arch>\n" if name.endswith(".deb") else "PK\3\4")
    return says("complete")


def pull(state: State, call: Call) -> Reply:
    (tag,) = call.rest
    if state["registry"] is not None and tag not in state["registry"]:
        raise FailedError(f"Error response from daemon: manifest for {tag} not found: manifest unknown")
    state["images"][tag] = {"id": "sha256:" + hashlib.sha256(tag.encode()).hexdigest(), "labels": {}}
    return says(f"Downloaded newer image for {tag}")


def copy_in(state: State, call: Call) -> Reply:
    """As Docker's daemon has it (containerExtractToDir): below a read-only root it takes what goes into a volume.

    A tmpfs is none to it.
    """
    source, target = call.rest
    name, _, inside = target.partition(":")
    container = state["containers"][name]
    assert (call.folder / source).is_file()
    if container["read_only"] and not any(Path(inside).is_relative_to(volume) for volume in container["volumes"]):
        raise FailedError("Error response from daemon: container rootfs is marked read-only")
    return Reply()


def remove(state: State, call: Call) -> Reply:
    assert "--volumes" in call.options, "its /tmp would stay behind"
    running = state["containers"].get(call.rest[0], {}).get("status") == "running"
    if running and "-f" not in call.options:
        raise FailedError("Error response from daemon: cannot remove container: it is running")
    gone = state["containers"].pop(call.rest[0], None)
    return Reply(f"{call.rest[0]}\n", "" if gone else "Error: No such container\n")


def start(state: State, call: Call) -> Reply:
    state["containers"][call.rest[0]]["status"] = "running"
    return says(call.rest[0])


def stop(state: State, call: Call) -> Reply:
    assert state["containers"][call.rest[0]]["status"] in ("running", "restarting"), "podman stops no paused one"
    state["containers"][call.rest[0]]["status"] = "exited"
    return says(call.rest[0])


def unpause(state: State, call: Call) -> Reply:
    assert state["containers"][call.rest[0]]["status"] == "paused"
    return start(state, call)


def rename(state: State, call: Call) -> Reply:
    old, new = call.rest
    if new in state["containers"]:
        raise FailedError(f'Error: Conflict. The container name "/{new}" is already in use')
    state["containers"][new] = state["containers"].pop(old)
    return Reply()


def inspect(state: State, call: Call) -> Reply:
    assert call.one("--type") == "container"
    container = state["containers"].get(call.rest[0])
    if container is None:
        raise FailedError("\nError: No such container")
    text = call.one("--format")
    for wanted, value in (
        (
            '{{if index .Config.Labels "immich-ml-hailo.setup"}}{{.Image}}{{end}}',
            container["image"] if "immich-ml-hailo.setup" in container["labels"] else "",
        ),
        ("{{.State.Status}}", container["status"]),
        ("{{.RestartCount}}", container["restarts"]),
        ("{{.Image}}", container["image"]),
        *((f'{{{{index .Config.Labels "{name}"}}}}', value) for name, value in container["labels"].items()),
        ('{{index .Config.Labels "immich-ml-hailo.setup"}}', ""),
        ('{{index .Config.Labels "immich-ml-hailo.settings"}}', ""),
    ):
        text = text.replace(wanted, str(value))
    assert "{{" not in text
    return says(text)


def logs(state: State, call: Call) -> Reply:
    return Reply(err=f"{state['containers'][call.rest[0]]['log']}\n")


def execute(state: State, call: Call) -> Reply:
    assert state["containers"][call.rest[0]]["status"] == "running"
    assert call.rest[1:3] in (["bash", "/app/tests/test.sh"], ["bash", "/tmp/test.sh"])
    return says("80 passed, 0 failed")


def info(state: State, call: Call) -> Reply:
    return says({"{{.SecurityOptions}}": state["security"], "{{.DockerRootDir}}": "/docker"}[call.one("--format")])


COMMANDS: dict[str, Callable[[State, Call], Reply]] = {
    "--version": version,
    "version": server_version,
    "ps": ps,
    "image inspect": image_inspect,
    "image rm": image_remove,
    "build": build,
    "pull": pull,
    "run": run,
    "rm": remove,
    "start": start,
    "stop": stop,
    "rename": rename,
    "unpause": unpause,
    "inspect": inspect,
    "logs": logs,
    "cp": copy_in,
    "exec": execute,
    "info": info,
}
