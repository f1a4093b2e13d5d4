"""Templates for each kind of home: whole, and the same as the page's `docker run`, each as its own tool reads it."""

import configparser
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import options_of
from readme import lines_of

from ml_target import __version__
from ml_target.config import PROJECT, Settings, setting_names
from ml_target.hailort.place import MOUNTED, TMPFS

EXAMPLES = PROJECT / "docs" / "examples"
PAGE = (PROJECT / "docs" / "templates.md").read_text(encoding="utf-8")
COMPOSE = [EXAMPLES / "any-driver.compose.yaml", EXAMPLES / "truenas.compose.yaml"]
UNRAID = EXAMPLES / "unraid" / "immich-ml-hailo.xml"
UNRAID_CPU = EXAMPLES / "unraid" / "immich-ml-cpu.xml"
ADD_ON = EXAMPLES / "home-assistant" / "config.yaml"
ADD_ON_BUILD = ADD_ON.with_name("Dockerfile")
QUADLET = EXAMPLES / "immich-ml-hailo.container"
KUBERNETES = EXAMPLES / "kubernetes.yaml"
IMAGE = "REGISTRY/OWNER/immich-ml-hailo"
RELEASE = f"{IMAGE}:{__version__}"
(LINE,) = (line for line in lines_of(PAGE) if line.startswith("docker run -d "))
RUN = options_of(LINE)
MOUNTS = {volume.split(":")[1]: volume.split(":")[2:] for volume in RUN["-v"]}
QUADLET_SINCE = {"HealthCmd": 4.5, "Tmpfs": 4.5}
"""By Podman's release notes; the ones before refuse a file with a key that they do not know."""
SETTINGS = {name for attribute in Settings.__slots__ for name in setting_names(attribute)}


def filled_in(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def variables(pairs: list[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_line_confines_the_container_and_leaves_it_one_place_for_libraries() -> None:
    assert RUN["--tmpfs"] == ["/tmp", TMPFS.removeprefix("--tmpfs ")]
    assert "--read-only" in RUN
    assert {str(Settings().hailort_dir): ["ro"], "/app/models": []} == MOUNTS
    assert set(variables(RUN["-e"])) <= SETTINGS


# ------------------------------------------------------------------- Compose


def test_compose_files_have_the_form_of_the_specification() -> None:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", *COMPOSE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_runs_what_the_line_runs(file: Path) -> None:
    ((name, service),) = yaml.safe_load(file.read_text(encoding="utf-8"))["services"].items()
    assert service["image"] == RELEASE
    assert name == service["container_name"] == RUN["--name"][0]
    assert [filled_in(port) for port in service["ports"]] == RUN["--publish"]
    assert (service["devices"], service["group_add"]) == (RUN["--device"], RUN["--group-add"])
    assert {key: filled_in(value) for key, value in service["environment"].items()} == variables(RUN["-e"])
    assert {volume.split(":")[1]: volume.split(":")[2:] for volume in service["volumes"]} == MOUNTS
    assert (service["read_only"], service["tmpfs"]) == (True, RUN["--tmpfs"])
    assert [word.lower() for word in service["cap_drop"]] == RUN["--cap-drop"]
    assert service["security_opt"] == [f"{word}:true" for word in RUN["--security-opt"]]
    assert [f"{service['pids_limit']}"] == RUN["--pids-limit"]
    assert [filled_in(service["mem_limit"])] == RUN["--memory"]
    assert [service["stop_grace_period"].removesuffix("s")] == RUN["--stop-timeout"]


# -------------------------------------------------------------------- Unraid


@pytest.mark.parametrize("file", [UNRAID, UNRAID_CPU], ids=lambda file: file.name)
def test_unraid_s_templates_run_what_the_line_runs(file: Path) -> None:
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    assert (root.tag, root.get("version")) == ("Container", "2")
    told = {child.tag: child.text or "" for child in root if child.tag != "Config"}
    needed = {"Name", "Repository", "Registry", "Network", "Shell", "Privileged", "Support", "Project", "Overview"}
    assert needed | {"Category", "WebUI", "ExtraParams"} == set(told)
    assert told["Repository"] == RELEASE
    assert told["Privileged"] == "false"
    assert f" as my-{told['Name']}.xml," in file.read_text(encoding="utf-8"), "Unraid saves it there: one, not two"
    extra = options_of(f"docker run -d {told['ExtraParams']} image")
    card = file == UNRAID
    left_to_fields = {"", "-v", "-e", "--publish", "--name"} | (set() if card else {"--device", "--group-add"})
    expected = {name: values for name, values in RUN.items() if name not in left_to_fields}
    expected["--user"] = ["99:100"]  # whom Unraid makes the folders for
    if not card:
        expected["--tmpfs"] = ["/tmp"]
    assert {k: sorted(v) for k, v in extra.items() if k} == {k: sorted(v) for k, v in expected.items()}
    fields = root.findall("Config")
    attributes = {"Name", "Target", "Default", "Mode", "Description", "Type", "Display", "Required", "Mask"}
    assert all(set(each.attrib) == attributes and each.text == each.get("Default") for each in fields)
    paths = {each.get("Target"): each.get("Mode") for each in fields if each.get("Type") == "Path"}
    assert paths == ({"/hailort": "ro"} if card else {}) | {"/app/models": "rw"}
    given = {each.get("Target") for each in fields if each.get("Type") == "Variable"}
    assert {"MODELS_FETCH", "CLIP_BACKEND"} <= given <= SETTINGS
    assert [each.get("Target") for each in fields if each.get("Type") == "Port"] == ["3003"]


# ------------------------------------------------------------ Home Assistant


def test_home_assistant_s_add_on() -> None:
    """Its keys are those of the developers' page on add-on configuration."""
    told: dict[str, Any] = yaml.safe_load(ADD_ON.read_text(encoding="utf-8"))
    assert {"name", "slug", "description", "version", "arch"} <= set(told), "what every add-on must have"
    known = "url init startup boot timeout ports ports_description webui watchdog devices map environment"
    assert set(told) - {"name", "slug", "description", "version", "arch"} == set(known.split())
    assert (told["devices"], told["ports"]) == (["/dev/hailo0"], {"3003/tcp": 3003})
    assert set(told["environment"]) <= SETTINGS
    assert told["timeout"] >= int(RUN["--stop-timeout"][0])
    assert str(told["watchdog"]).startswith("tcp:"), "/ping says 503 while the card is recovered"
    lines = [line for line in ADD_ON_BUILD.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines == [f"FROM {RELEASE}", "USER root"], "its node and its folders are root's"
    assert told["version"] == __version__


# --------------------------------------------------- Podman, Proxmox, Kubernetes


def test_the_quadlet_runs_what_the_line_runs() -> None:
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    text = QUADLET.read_text(encoding="utf-8")
    unit.read_string(text)
    assert unit.sections() == ["Unit", "Container", "Service", "Install"]
    known = (
        "ContainerName Image PublishPort AddDevice PodmanArgs Environment Volume ReadOnly Tmpfs DropCapability "
        "NoNewPrivileges HealthCmd"
    )
    assert set(unit["Container"]) == set(known.split()), "keys of podman-systemd.unit(5)"

    since = max(QUADLET_SINCE.get(key, 4.4) for key in unit["Container"])
    assert f"({since} or newer)" in text
    assert f"Podman {since} or newer" in PAGE

    def every(key: str) -> list[str]:
        return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)

    assert every("Image")[0] == RELEASE
    assert every("PublishPort") == RUN["--publish"]
    assert every("Tmpfs") == RUN["--tmpfs"]
    assert {volume.split(":")[1]: volume.split(":")[2:] for volume in every("Volume")} == MOUNTS
    assert variables(every("Environment")[0].split()) == variables(RUN["-e"])
    more = options_of(f"docker run -d {every('PodmanArgs')[0]} image")
    for option in ("--group-add", "--memory", "--pids-limit", "--stop-timeout"):
        assert more[option] == RUN[option]
    assert int(unit["Service"]["TimeoutStopSec"]) > int(RUN["--stop-timeout"][0])


def test_proxmox_s_lines_have_the_form_of_its_files() -> None:
    lines = (EXAMPLES / "proxmox-lxc.conf").read_text(encoding="utf-8").splitlines()
    told = dict(line.split(": ", 1) for line in lines if not line.startswith("#"))
    assert set(told) == {"features", "memory", "swap", "cores", "dev0"}
    assert told["dev0"].startswith("/dev/hailo0,mode=")
    assert int(told["memory"]) > 4096, "the container in it may take that much"


def test_kubernetes_gives_one_card_to_one_worker() -> None:
    deployment, service = yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8"))
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert worker["image"] == RELEASE
    assert worker["resources"]["limits"] == {"memory": "4Gi", "hailo.ai/hailo8": "1"}
    assert {each["name"]: each["value"] for each in worker["env"]} == variables(RUN["-e"])
    assert worker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {each["mountPath"]: each["name"] for each in worker["volumeMounts"]}
    assert set(mounts) == {*MOUNTS, "/tmp", str(MOUNTED)}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert "medium" not in volumes[mounts[str(MOUNTED)]]["emptyDir"], "in memory it may be noexec"
    assert worker["readinessProbe"]["httpGet"]["path"] == worker["startupProbe"]["httpGet"]["path"] == "/ping"
    assert worker["livenessProbe"]["httpGet"]["path"] == "/", "a worker that recovers its card lives"
    assert pod["terminationGracePeriodSeconds"] > int(RUN["--stop-timeout"][0])


def test_kubernetes_knows_every_key(tmp_path: Path) -> None:
    """The published schemas of its oldest and its newest version here, which let no unknown key pass."""
    if not importlib.util.find_spec("kubernetes_validate"):
        pytest.skip("kubernetes-validate is not installed (it is with ./setup.sh test)")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(KUBERNETES.read_text(encoding="utf-8").replace("failureThreshold:", "failureTreshold:", 1))
    call = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", "1.25", "-k", "1.37"]
    right, misspelt = (subprocess.run([*call, file], capture_output=True, text=True) for file in (KUBERNETES, wrong))
    assert right.returncode == 0, right.stdout + right.stderr
    assert right.stdout.count("passed for resource") == 4
    assert misspelt.returncode == 1
    assert "failureTreshold" in misspelt.stdout + misspelt.stderr


def test_every_template_is_on_the_page() -> None:
    linked = set(re.findall(r"\]\(examples/([^)]+)\)", PAGE))
    templates = [*COMPOSE, UNRAID, UNRAID_CPU, ADD_ON, ADD_ON_BUILD, QUADLET, KUBERNETES, EXAMPLES / "proxmox-lxc.conf"]
    assert {str(file.relative_to(EXAMPLES)) for file in templates} == linked
