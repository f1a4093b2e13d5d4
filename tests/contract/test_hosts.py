"""Compose files, HAProxy's configuration and the systemd unit: as the tools see them, and as the README says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from balancer import find_haproxy
from hosts import options_of
from readme import README, lines_of
from setup_planned import PlannedHost

from ml_target.api.serve import build_server
from ml_target.catalogue.networks import with_baked
from ml_target.config import IMMICH_HEADERS_TIMEOUT_S, PROJECT, Settings
from ml_target.runtime.lifecycle import Worker

EXAMPLES = PROJECT / "docs" / "examples"
HOSTS = (PROJECT / "docs" / "hosts.md").read_text(encoding="utf-8")
WORKER = PROJECT / "compose.yaml"
BESIDE_IMMICH = EXAMPLES / "immich.compose.yaml"
BALANCER = EXAMPLES / "balancer.compose.yaml"
TEMPLATES = [EXAMPLES / "any-driver.compose.yaml", EXAMPLES / "truenas.compose.yaml"]
HAPROXY = (EXAMPLES / "haproxy.cfg").read_text(encoding="utf-8")


def services(file: Path) -> dict[str, dict[str, Any]]:
    """The services of a Compose file, by name."""
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert {key for key in content if not key.startswith("x-")} == {"services"}
    found: dict[str, dict[str, Any]] = content["services"]
    return found


def filled_in(text: str) -> str:
    """With the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def options_of_docker_run(page: str) -> dict[str, list[str]]:
    """The options of the page's line for a card."""
    (line,) = (line for line in lines_of(page) if line.startswith("docker run -d ") and "--device" in line)
    return options_of(line)


# ------------------------------------------------------------------- Compose


def test_compose_files_have_the_form_of_the_specification() -> None:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    files = [str(file) for file in (WORKER, BESIDE_IMMICH, BALANCER)]
    done = subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", [WORKER, BESIDE_IMMICH, BALANCER], ids=lambda file: file.name)
def test_ports_are_words(file: Path) -> None:
    ports = [port for service in services(file).values() for port in service.get("ports", ())]
    assert all(isinstance(port, str) for port in ports), "YAML reads 3003:3003 as a number"


@pytest.mark.parametrize(("file", "name"), [(WORKER, "hailo"), (BESIDE_IMMICH, "immich-ml-hailo")])
def test_compose_runs_what_docker_run_runs(file: Path, name: str) -> None:
    run, service = options_of_docker_run(README), services(file)[name]
    assert service["devices"] == run["--device"]
    assert service["group_add"] == run["--group-add"]
    assert service["container_name"] == run["--name"][0]
    assert service["restart"] == run["--restart"][0]
    assert [filled_in(service["image"])] == run[""]
    assert set(service["environment"]) == {word.partition("=")[0] for word in run["-e"]}
    if file == WORKER:
        assert [filled_in(port) for port in service["ports"]] == run["--publish"]
    else:
        assert "ports" not in service, "Immich reaches it inside its own network"


def as_options(service: dict[str, Any]) -> dict[str, list[str]]:
    """A service as options of `docker run`. A key that is not known here fails: setup.sh needs its option, too."""
    found: dict[str, list[str]] = {}
    for key, value in service.items():
        match key:
            case "build" | "profiles" | "pull_policy":  # where the image comes from
                continue
            case "image":
                found[""] = [filled_in(value)]
            case "environment":
                found["-e"] = sorted(value)
            case "read_only":
                found["--read-only"] = [] if value else ["false"]
            case "cap_drop":
                found["--cap-drop"] = [word.lower() for word in value]
            case "security_opt":
                found["--security-opt"] = [word.removesuffix(":true") for word in value]
            case "stop_grace_period":
                found["--stop-timeout"] = [value.removesuffix("s")]
            case _:
                values = value if isinstance(value, list) else [value]
                found[AS_OPTION[key]] = [filled_in(str(each)) for each in values]
    return found


AS_OPTION = {
    "container_name": "--name",
    "devices": "--device",
    "group_add": "--group-add",
    "mem_limit": "--memory",
    "pids_limit": "--pids-limit",
    "ports": "--publish",
    "restart": "--restart",
    "volumes": "-v",
}


def settings_by_name(options: dict[str, list[str]]) -> dict[str, list[str]]:
    return {**options, "-e": sorted(word.partition("=")[0] for word in options.get("-e", []))}


def test_the_hardened_line_is_compose_in_one_line() -> None:
    plain, hardened = options_of_docker_run(README), options_of_docker_run(HOSTS)
    assert {name: values for name, values in hardened.items() if name in plain} == plain, "and begins as the plain one"
    assert settings_by_name(hardened) == as_options(services(WORKER)["hailo"])


@pytest.mark.parametrize("name", ["hailo", "cpu"])
def test_setup_starts_what_compose_starts(host: PlannedHost, name: str) -> None:
    """Key by key: what the one bounds or takes away, the other does."""
    open_to_group_0(host)
    done = host.run("--yes", "--no-start", *(["--cpu"] if name == "cpu" else []), IMMICH_PORT="3003")
    assert done.code == 0, done.err
    (line,) = (line for line in done.out.splitlines() if line.startswith("    $ docker run -d "))
    started = settings_by_name(options_of(line.strip().removeprefix("$ ")))
    del started["--label"]
    service = services(WORKER)[name]
    assert started == {**as_options(service), "--name": ["immich-ml-hailo"]}
    assert service["container_name"].startswith("immich-ml-")


@pytest.mark.parametrize(("words", "engine"), [("--clip-backend siglip", "hailo"), ("--cpu", "cpu")])
def test_by_hand_and_setup_start_the_same_with_the_same_models(host: PlannedHost, words: str, engine: str) -> None:
    """The README's lines under "By hand" and its command for ./setup.sh, which confines the container besides."""
    assert f"./setup.sh {words}" in lines_of(README)
    open_to_group_0(host)
    done = host.run("--yes", "--dry-run", *words.split(), IMMICH_PORT="3003")
    assert done.code == 0, done.err
    shown = [line.strip().removeprefix("$ ") for line in done.out.splitlines() if line.startswith("    $ docker run ")]
    typed = lines_of(README.partition("## By hand\n")[2])
    first = "--device" if engine == "hailo" else "--publish"
    by_hand = options_of(only(line for line in typed if line.startswith(f"docker run -d {first}")))
    started = options_of(only(line for line in shown if line.startswith("docker run -d ")))
    assert {name: started.get(name) for name in by_hand} == by_hand
    fetched = only(line for line in shown if " models fetch " in line)
    assert backends_in(fetched) == backends_in(only(line for line in typed if f" fetch --engine {engine}" in line))


def open_to_group_0(host: PlannedHost) -> None:
    """The card's node, as the documented lines have it."""
    (host.root / "dev" / "hailo0").chmod(0o660)
    host.groups["/dev/hailo0"] = "0"


def only(lines: Iterable[str]) -> str:
    (line,) = lines
    return line


def backends_in(line: str) -> set[str]:
    """What a fetch gets; `--baked`: what an image for a card holds besides."""
    named = set(re.findall(r"--clip-backend (\w+)", line)) or {Settings().clip_backend}
    return {each for name in named for each in with_baked(name)} if "--baked" in line else named


def test_compose_beside_immich_takes_away_what_compose_does() -> None:
    beside, alone = as_options(services(BESIDE_IMMICH)["immich-ml-hailo"]), as_options(services(WORKER)["hailo"])
    assert {**beside, "--publish": alone["--publish"]} == alone


def test_the_processor_needs_neither_card_nor_base() -> None:
    service = services(WORKER)["cpu"]
    assert service["profiles"] == ["cpu"], "only when it is named"
    assert service["environment"]["ENGINE"] == "cpu"
    assert service["build"]["args"] == {"BASE_IMAGE": "ubuntu:24.04"}
    assert not {"devices", "group_add"} & set(service)
    assert service["container_name"] != services(WORKER)["hailo"]["container_name"], "Compose refuses one name twice"


@pytest.mark.parametrize("name", ["hailo", "cpu"])
def test_compose_builds_from_dockerfiles_that_know_its_arguments(name: str) -> None:
    build = services(WORKER)[name]["build"]
    dockerfile = (PROJECT / build["context"] / build["dockerfile"]).read_text(encoding="utf-8")
    for argument in build["args"]:
        assert re.search(rf"^ARG {argument}\b", dockerfile, re.M)


def test_a_stopped_container_has_time_to_answer() -> None:
    worker = Worker(Settings(engine="cpu"))
    needed = build_server(worker).config.timeout_graceful_shutdown
    worker.close()
    assert needed
    for file, name in ((WORKER, "hailo"), (WORKER, "cpu"), (BESIDE_IMMICH, "immich-ml-hailo")):
        assert int(services(file)[name]["stop_grace_period"].removesuffix("s")) > needed
    unit = (EXAMPLES / "immich-ml-hailo.service").read_text(encoding="utf-8")
    assert int(unit.partition("TimeoutStopSec=")[2].split()[0]) > needed


@pytest.mark.parametrize("file", [WORKER, BESIDE_IMMICH, BALANCER, *TEMPLATES], ids=lambda file: file.name)
def test_a_compose_program_reads_them(file: Path, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\necho podman version 4.3.1\n")  # is asked for its version only
    (tmp_path / "podman").chmod(0o755)
    podmans = [str(Path(sys.executable).with_name("podman-compose")), "--podman-path", str(tmp_path / "podman")]
    for command in (["docker", "compose"], ["docker-compose"], podmans):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            break
    else:
        pytest.skip("no docker compose, docker-compose or podman-compose here")
    variables = {**os.environ, "WORKER_1": "a:1", "WORKER_2": "b:2"}
    done = subprocess.run([*command, "-f", str(file), "config"], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert {name for name, service in services(file).items() if "profiles" not in service} <= set(read)


# ------------------------------------------------------------------- HAProxy


def test_haproxy_finds_its_configuration_valid() -> None:
    done = subprocess.run(
        [find_haproxy(), "-c", "-f", str(EXAMPLES / "haproxy.cfg")], cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_balancers_compose_file_fits_its_configuration() -> None:
    service = services(BALANCER)["balancer"]
    presets = dict(re.findall(r"presetenv (\w+) (\S+)", HAPROXY))
    workers = {name for name in presets if name.startswith("WORKER")}
    assert set(service["environment"]) == {*workers, "STATISTICS"}
    assert [port.rpartition(":")[2] for port in service["ports"]] == [
        presets[name].rpartition(":")[2] for name in ("LISTEN", "STATISTICS")
    ]
    mounted = [volume.split(":")[0] for volume in service["volumes"]]
    assert mounted == ["./haproxy.cfg", "./hold.lua"]
    assert all((EXAMPLES / name).is_file() for name in mounted)


def test_the_page_of_figures_is_for_the_balancers_host_alone() -> None:
    """HAProxy listens on the local address; inside a container on all of them, and the port is published on that."""
    assert "presetenv STATISTICS 127.0.0.1:8404\n" in HAPROXY
    service = services(BALANCER)["balancer"]
    assert service["environment"]["STATISTICS"] == ":8404", "a container's local address is reached by nobody"
    (published,) = (port for port in service["ports"] if port.endswith(":8404"))
    assert published == "127.0.0.1:8404:8404"


def test_the_balancer_waits_longer_than_a_worker_and_shorter_than_immich() -> None:
    (waits,) = re.findall(r"timeout server (\d+)s", HAPROXY)
    assert Settings().request_timeout_s < int(waits) < IMMICH_HEADERS_TIMEOUT_S


def test_every_server_is_given_up_when_it_vanishes_in_mid_upload() -> None:
    """HAProxy 2.6 takes tcp-ut only in a server's own line."""
    servers = re.findall(r"^    server .*$", HAPROXY, re.M)
    assert len(servers) == 2
    assert all("tcp-ut" in server for server in servers)


# ------------------------------------------------------------------- systemd


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    unit = (EXAMPLES / "immich-ml-hailo.service").read_text(encoding="utf-8")
    unit = unit.replace("/opt/immich-ml-hailo/.venv/bin/python", sys.executable)
    file = tmp_path / "immich-ml-hailo.service"
    file.write_text(unit.replace("/opt/immich-ml-hailo", str(PROJECT)), encoding="utf-8")
    done = subprocess.run([program, "verify", str(file)], capture_output=True, text=True)
    if "Failed to" in done.stderr and "immich-ml-hailo.service:" not in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.splitlines()[0]}")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_starts_the_worker_that_the_page_installs() -> None:
    unit = (EXAMPLES / "immich-ml-hailo.service").read_text(encoding="utf-8")
    page = (PROJECT / "docs" / "hosts.md").read_text(encoding="utf-8")
    folder = re.findall(r"WorkingDirectory=(\S+)", unit)[0]
    assert f"ExecStart={folder}/.venv/bin/python -m ml_target\n" in unit
    assert f"cd {folder}" in page
    assert all(f"/etc/{name}" in page for name in ("systemd/system/", "immich-ml-hailo.env"))
