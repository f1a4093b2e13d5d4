"""A stand-in for the docker command, as far as setup.sh uses it: it keeps images and containers in a file.

`python3 docker_standin.py STATE ARGUMENT…`. STATE is a JSON file, written by the tests and by this:
images (tag -> id, labels), containers (name -> what docker inspect would tell), faults (beginning of a call ->
exit code, words, and the labels of a container that is left behind, or null), interrupted (beginning of a call ->
signal that whoever calls gets once the call has done its work, and this too: 2 as Ctrl-C, 9 as a power cut), arch,
chip, missing (lines of the
store's answer; null: the real store is run), dies (the last words of a container that ends at once, or null).
Each call is noted in the file beside it, `calls`.
What it does not know fails, so that setup.sh cannot come to rely on it unnoticed.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
WITH_VALUE = {"-t", "--label", "--build-arg", "--file", "-e", "-v", "--user", "--network", "--entrypoint", "--publish"}
WITH_VALUE |= {"--name", "--restart", "--stop-timeout", "--format", "--type", "--tail", "--memory", "--pids-limit"}
WITH_VALUE |= {"--cap-drop", "--security-opt"}


class Call:
    """The words after the command: options by name, and the rest from the first that is none."""

    def __init__(self, words: list[str]) -> None:
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


def main(path: Path, words: list[str]) -> int:
    before = path.read_text()
    state = json.loads(before)
    with (path.parent / "calls").open("a") as calls:
        calls.write("\t".join(words) + "\n")
    for beginning, (code, complaint, labels) in state["faults"].items():
        if " ".join(words).startswith(beginning):
            print(complaint, file=sys.stderr)
            if labels is not None:
                left = {"labels": labels, "status": "created", "image": "x", "restarts": 0, "ports": "", "log": ""}
                state["containers"]["immich-ml-hailo"] = left
                path.write_text(json.dumps(state))
            return int(code)
    name = words[0] if words[0] != "image" else " ".join(words[:2])
    if name == "build":  # elsewhere -f means force
        words = ["--file" if word == "-f" else word for word in words]
    code = COMMANDS[name](state, Call(words[len(name.split()) :]))
    if (after := json.dumps(state)) != before:
        path.write_text(after)
    for beginning, number in state["interrupted"].items():
        if " ".join(words).startswith(beginning):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getppid(), number)
            os.kill(os.getpid(), number)
    return code


def version(state: dict[str, Any], call: Call) -> int:
    print("Docker version 99.9, stand-in")
    return 0


def server_version(state: dict[str, Any], call: Call) -> int:
    assert call.one("--format") == "{{.Server.Arch}}"
    print(state["arch"])
    return 0


def ps(state: dict[str, Any], call: Call) -> int:
    if "-a" not in call.options:
        assert call.one("--format") == "{{.ID}}"
        return 0
    assert call.one("--format") == "{{.Names}} {{.Ports}}"
    for name, container in state["containers"].items():
        print(name, container["ports"] if container["status"] == "running" else "")
    return 0


def image_inspect(state: dict[str, Any], call: Call) -> int:
    image = state["images"].get(call.rest[0])
    if image is None:
        print("\nError: No such image", file=sys.stderr)
        return 1
    wanted = call.one("--format")
    print(image["id"] if wanted == "{{.Id}}" else image["labels"].get(wanted.split('"')[1], ""))
    return 0


def build(state: dict[str, Any], call: Call) -> int:
    assert call.rest == ["."], "the context is the project"
    assert Path(call.one("--file")).is_file()
    described = json.dumps(call.options, sort_keys=True)
    image = {"id": "sha256:" + hashlib.sha256(described.encode()).hexdigest(), "labels": call.pairs("--label")}
    state["images"][call.one("-t")] = image
    print("Successfully built")
    return 0


def run(state: dict[str, Any], call: Call) -> int:
    tag, *arguments = call.rest
    if tag not in state["images"]:
        print(f"Unable to find image '{tag}' locally", file=sys.stderr)
        return 125
    if "-d" in call.options:
        return _start(state, call, tag)
    assert "--rm" in call.options, "nothing is left behind"
    assert call.one("--entrypoint") == "python3"
    if arguments[:2] == ["-m", "ml_target.diagnostics.settings"]:
        return 0
    if arguments == ["-m", "ml_target.doctor", "--chip"]:
        print(state["chip"])
        return 0
    assert arguments[:3] == ["-m", "ml_target", "models"]
    return _store(state, call, arguments)


def _start(state: dict[str, Any], call: Call, tag: str) -> int:
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
    if state.get("warns"):
        print(state["warns"], file=sys.stderr)
    print("0123456789ab")
    return 0


def _store(state: dict[str, Any], call: Call, arguments: list[str]) -> int:
    mounts = {inside: host for host, inside, *_ in (text.split(":") for text in call.options["-v"] if ":" in text)}
    if state["missing"] is None:
        passed = {name: value or os.environ[name] for name, value in call.pairs("-e").items()}
        mirror = passed.get("MODELS_MIRROR", "")
        settings = {**passed, "MODELS_DIR": mounts["/app/models"], "PATH": os.environ["PATH"]}
        settings["MODELS_MIRROR"] = mounts.get(mirror, mirror)
        return subprocess.run([sys.executable, *arguments], env=settings, cwd=PROJECT, check=False).returncode
    if arguments[3] == "missing":
        print("\n".join(state["missing"]), end="")
        return 0
    assert arguments[3] == "fetch"
    (Path(mounts["/app/models"]) / "fetched.hef").write_text("network")
    state["missing"] = []
    return 0


def copy(state: dict[str, Any], call: Call) -> int:
    """As Docker's daemon has it (containerExtractToDir): below a read-only root it takes what goes into a volume.

    A tmpfs is none to it.
    """
    source, target = call.rest
    name, _, inside = target.partition(":")
    container = state["containers"][name]
    assert Path(source).is_file()
    if container["read_only"] and not any(Path(inside).is_relative_to(volume) for volume in container["volumes"]):
        print("Error response from daemon: container rootfs is marked read-only", file=sys.stderr)
        return 1
    return 0


def remove(state: dict[str, Any], call: Call) -> int:
    assert "--volumes" in call.options, "its /tmp would stay behind"
    if state["containers"].pop(call.rest[0], None) is None:
        print("Error: No such container", file=sys.stderr)
    print(call.rest[0])
    return 0


def start(state: dict[str, Any], call: Call) -> int:
    state["containers"][call.rest[0]]["status"] = "running"
    print(call.rest[0])
    return 0


def stop(state: dict[str, Any], call: Call) -> int:
    assert state["containers"][call.rest[0]]["status"] in ("running", "restarting"), "podman stops no paused one"
    state["containers"][call.rest[0]]["status"] = "exited"
    print(call.rest[0])
    return 0


def unpause(state: dict[str, Any], call: Call) -> int:
    assert state["containers"][call.rest[0]]["status"] == "paused"
    return start(state, call)


def rename(state: dict[str, Any], call: Call) -> int:
    old, new = call.rest
    if new in state["containers"]:
        print(f'Error: Conflict. The container name "/{new}" is already in use', file=sys.stderr)
        return 1
    state["containers"][new] = state["containers"].pop(old)
    return 0


def inspect(state: dict[str, Any], call: Call) -> int:
    assert call.one("--type") == "container"
    container = state["containers"].get(call.rest[0])
    if container is None:
        print("\nError: No such container", file=sys.stderr)
        return 1
    text = call.one("--format")
    for wanted, value in (
        ("{{.State.Status}}", container["status"]),
        ("{{.RestartCount}}", container["restarts"]),
        ("{{.Image}}", container["image"]),
        *((f'{{{{index .Config.Labels "{name}"}}}}', value) for name, value in container["labels"].items()),
        ('{{index .Config.Labels "immich-ml-hailo.setup"}}', ""),
        ('{{index .Config.Labels "immich-ml-hailo.settings"}}', ""),
    ):
        text = text.replace(wanted, str(value))
    assert "{{" not in text
    print(text)
    return 0


def logs(state: dict[str, Any], call: Call) -> int:
    print(state["containers"][call.rest[0]]["log"], file=sys.stderr)
    return 0


def execute(state: dict[str, Any], call: Call) -> int:
    assert state["containers"][call.rest[0]]["status"] == "running"
    assert call.rest[1:3] in (["bash", "/app/tests/test.sh"], ["bash", "/tmp/test.sh"])
    print("80 passed, 0 failed")
    return 0


def info(state: dict[str, Any], call: Call) -> int:
    print({"{{.SecurityOptions}}": state["security"], "{{.DockerRootDir}}": "/docker"}[call.one("--format")])
    return 0


COMMANDS = {
    "--version": version,
    "version": server_version,
    "ps": ps,
    "image inspect": image_inspect,
    "build": build,
    "run": run,
    "rm": remove,
    "start": start,
    "stop": stop,
    "rename": rename,
    "unpause": unpause,
    "inspect": inspect,
    "logs": logs,
    "cp": copy,
    "exec": execute,
    "info": info,
}

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
