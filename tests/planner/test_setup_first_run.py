"""setup.sh from the first image to the last word, with a stand-in docker."""

import re

import pytest
from setup_planned import PlannedHost
from setup_runs import ALL, CONFINED, CPU

from ml_target.catalogue.networks import CLIP_BACKENDS


def test_from_a_bare_host_to_a_tested_worker(host: PlannedHost) -> None:
    host.ready_after = 2
    done = host.run("--yes", "--clip-backend", "siglip")
    assert done.code == 0, done.err
    assert done.err == ""
    assert host.changes() == ALL
    assert host.call("run", "-d") == [
        "run", "-d", "--device=/dev/hailo0:/dev/hailo0", f"--group-add={host.group}",
        "--publish", "65000:3003", "-e", "CLIP_BACKEND=siglip",
        *CONFINED, "--memory", "4g",
        "--name", "immich-ml-hailo", "--restart", "unless-stopped", "--stop-timeout", "30",
        "--label", "immich-ml-hailo.setup=1", "--label",
        f"immich-ml-hailo.settings=IMMICH_PORT=65000 CLIP_BACKEND=siglip LIMIT=4g"
        f" DEVICE=/dev/hailo0 GROUP={host.group}",
        "immich-ml-hailo:v4.23.0",
    ]  # fmt: skip
    assert host.call("exec") == [
        "exec", "immich-ml-hailo", "bash", "/app/tests/test.sh", "--expect-all", "/app/tests/test.jpg",
    ]  # fmt: skip
    assert "80 passed, 0 failed" in done.out
    assert "OFF" not in done.out
    assert "URL         http://192.168.1.20:65000" in done.out
    assert "CLIP model  ViT-B-16-SigLIP__webli" in done.out
    assert "docker exec immich-ml-hailo python3 -m ml_target selfcheck" in done.out
    assert "docker exec immich-ml-hailo python3 -m ml_target doctor" in done.out
    assert host.ours["environment"] == ["CLIP_BACKEND=siglip"]


def test_the_steps_are_counted(host: PlannedHost) -> None:
    out = host.run("--yes").out
    assert re.findall(r"^\[(\d/\d)\]", out, re.MULTILINE) == [f"{n}/7" for n in range(1, 8)]
    out = host.run("--yes", "--cpu").out
    assert re.findall(r"^\[(\d/\d)\]", out, re.MULTILINE) == [f"{n}/6" for n in range(1, 7)]


def test_the_images_are_built_as_the_readme_has_it(host: PlannedHost) -> None:
    host.run("--yes")
    base = host.call("build", "-t", "hailo-base:v4.23.0")
    slim = host.call("build", "-t", "immich-ml-hailo:v4.23.0-slim")
    full = host.call("build", "-t", "immich-ml-hailo:v4.23.0")
    assert base[-3:] == ["-f", "Dockerfile.hailo-base", "."]
    assert slim[-3:] == full[-3:] == ["-f", "Dockerfile.immich-ml-hailo", "."]
    assert "MODELS=none" in slim
    assert not any(word.startswith(("MODELS=", "BASE_IMAGE=")) for word in full)


def test_the_processor_alone(host: PlannedHost) -> None:
    host.no_card()
    host.no_packages()
    done = host.run("--yes", "--cpu")
    assert done.code == 0, done.err
    assert host.changes() == CPU
    assert "BASE_IMAGE=ubuntu:24.04" in host.call("build", "-t", "immich-ml-hailo:cpu")
    start = host.call("run", "-d")
    assert not any("hailo0" in word or "--group-add" in word for word in start)
    assert host.ours["environment"] == ["CLIP_BACKEND=tinyclip", "ENGINE=cpu"]
    fetch = next(words for words in host.calls() if "fetch" in words)
    assert " ".join(fetch).endswith("models fetch --engine cpu")
    assert "CLIP_BACKEND=tinyclip" in fetch
    assert "selfcheck" not in done.out


def test_engine_cpu_is_the_same(host: PlannedHost) -> None:
    host.run("--yes", ENGINE="cpu")
    assert host.changes() == CPU


@pytest.mark.parametrize("cpu", [False, True])
def test_another_base_image(host: PlannedHost, cpu: bool) -> None:
    host.run("--yes", "--no-start", *(["--cpu"] if cpu else []), BASE_IMAGE="mirror.lan/ubuntu:24.04")
    builds = [words for words in host.calls() if words[0] == "build"]
    assert ["BASE_IMAGE=mirror.lan/ubuntu:24.04" in words for words in builds] == (
        [True, True] if cpu else [True, False, False]
    )


def test_a_proxy_is_handed_to_builds_and_downloads(host: PlannedHost) -> None:
    pip = {"PIP_INDEX_URL": "http://pip.lan", "PIP_CERT": "/etc/of/this/host.pem"}
    host.run("--yes", "--no-start", HTTPS_PROXY="http://user:secret@proxy.lan:3128", **pip)
    for words in host.calls():
        if words[0] == "build":
            assert words[words.index("HTTPS_PROXY") - 1] == "--build-arg"
        if "models" in words:
            assert words[words.index("HTTPS_PROXY") - 1] == words[words.index("PIP_INDEX_URL") - 1] == "-e"
        assert "secret" not in " ".join(words), "other users see command lines"
        if "ml_target.diagnostics.settings" not in words:  # which is told the names of all variables
            assert "PIP_CERT" not in words, "there is no such file inside"


def test_no_start(host: PlannedHost) -> None:
    done = host.run("--yes", "--no-start")
    assert done.code == 0, done.err
    assert host.changes() == ALL[:-1]
    assert host.state["containers"] == {}
    assert "$ docker run -d --device=/dev/hailo0:/dev/hailo0" in done.out
    assert "The image immich-ml-hailo:v4.23.0 is ready." in done.out
    assert "has passed" not in done.out


@pytest.mark.parametrize("backend", ["tinyclip", "vit_b_32", "siglip2"])
def test_the_name_for_immich(host: PlannedHost, backend: str) -> None:
    out = host.run("--yes", "--no-start", "--clip-backend", backend).out
    line = next(line for line in out.splitlines() if "CLIP model" in line)
    known = CLIP_BACKENDS[backend]
    assert line.split("CLIP model")[1].split() == [known.immich_name, f"({known.width}", "numbers)"]
    assert ("let no other worker, not even Immich's own," in " ".join(out.split())) == (backend == "tinyclip")


@pytest.mark.parametrize(
    ("backends", "words"),
    [
        ("vit_b_16,siglip", "ViT-B-16__openai or ViT-B-16-SigLIP__webli: the name decides"),
        ("auto", "the name of a backend whose files are there: /status lists them"),
    ],
)
def test_the_names_for_immich_where_several_are_served(host: PlannedHost, backends: str, words: str) -> None:
    out = host.run("--yes", "--no-start", "--clip-backend", backends).out
    line = next(line for line in out.splitlines() if "CLIP model" in line)
    assert line.strip() == f"CLIP model  {words}"


@pytest.mark.parametrize(
    ("files", "address"),
    [
        ({}, "192.168.1.20"),
        ({"proc/net/route": "Iface Destination\n"}, "nas"),
        ({"proc/net/route": "", "proc/sys/kernel/hostname": ""}, "THIS-HOST"),
    ],
)
def test_the_address_of_this_host(host: PlannedHost, files: dict[str, str], address: str) -> None:
    host.system(files)
    assert f"URL         http://{address}:65000" in host.run("--yes", "--no-start").out
