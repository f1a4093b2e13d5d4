"""setup.sh where it has been before: what it does again, keeps, asks about, and leaves alone."""

import re

import pytest
from project import PROJECT
from setup_planned import PlannedHost
from setup_runs import ALL, REPLACED


def test_a_second_run_finds_everything_there(host: PlannedHost, served: dict[str, str]) -> None:
    done = host.run(**served)  # and asks nothing
    assert done.code == 0, done.err
    assert host.changes() == []
    assert "immich-ml-hailo runs, and nothing has changed" in done.out
    assert "80 passed" in done.out


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hailo-rt-4/hailort_4.23.0_amd64.deb", [ALL[0], ALL[1], ALL[3], *REPLACED]),
        ("Dockerfile.hailo-base", [ALL[0], ALL[1], ALL[3], *REPLACED]),
        ("ml_target/api/app.py", [ALL[1], ALL[3], *REPLACED]),
        ("ml_target/deep/er.py", [ALL[1], ALL[3], *REPLACED]),
        ("tests/test.sh", [ALL[1], ALL[3], *REPLACED]),
        ("models/mine.hef", [ALL[3], *REPLACED]),
        ("requirements.txt", [ALL[1], ALL[3], *REPLACED]),
        ("LICENSE", [ALL[1], ALL[3], *REPLACED]),
        ("scripts/unpack.sh", [ALL[0], ALL[1], ALL[3], *REPLACED]),
        ("README.md", []),
        ("tests/test_app.py", []),
        ("models/checksums.json", []),
        ("models/x.hef.part", []),
        ("models/x.zip.whole", []),
        ("ml_target/__pycache__/app.pyc", []),
        (".git/HEAD", []),
    ],
)
def test_only_what_has_changed_is_built_again(
    host: PlannedHost, served: dict[str, str], name: str, changes: list[str]
) -> None:
    path = host.checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("!<arch> more")
    assert host.run("--yes", **served).code == 0
    assert host.changes() == changes


@pytest.mark.parametrize("name", ["Dockerfile.hailo-base", "Dockerfile.immich-ml-hailo"])
def test_the_dockerfiles_copy_in_a_way_that_is_understood(name: str) -> None:
    """`copied` reads plain COPY lines; what came into an image otherwise would be missed when it changes."""
    if not (PROJECT / name).exists():
        pytest.skip(f"{name} is not there")
    text = (PROJECT / name).read_text()
    assert not re.findall(
        r"^\s*ADD\s|^\s+COPY\s|^copy\s|^COPY\s.*\\$|^COPY\s+(?:--\S+\s+)*\[|type=bind", text, re.MULTILINE
    )
    for words in re.findall(r"^COPY\s+((?:(?!--from=).)*)$", text, re.MULTILINE):
        for source in [word for word in words.split()[:-1] if not word.startswith("--")]:
            assert list(PROJECT.glob(source.rstrip("/"))), f"{name} copies {source}, which is not there"


def test_an_image_made_by_hand_is_made_again(host: PlannedHost, served: dict[str, str]) -> None:
    images = host.state["images"]
    images["immich-ml-hailo:v4.23.0"] = {"id": "sha256:other", "labels": images["hailo-base:v4.23.0"]["labels"]}
    host.change(images=images)
    host.run("--yes", **served)
    assert host.changes() == [ALL[3]], "and it is then what the container has already"


def test_a_new_driver_makes_new_images(host: PlannedHost, served: dict[str, str]) -> None:
    host.system({"sys/module/hailo_pci/version": "4.24.0"})
    host.package("hailort_4.24.0_amd64.deb")
    host.package("hailort-4.24.0-cp312-cp312-linux_x86_64.whl")
    host.run("--yes", **served)
    new = [change.replace("4.23", "4.24") for change in ALL if change not in ("fetch", "run -d")]
    assert host.changes() == [*new, *REPLACED]


def test_settings_are_handed_on_and_kept(host: PlannedHost, served: dict[str, str]) -> None:
    host.run("--yes", FACE_DETECTOR="scrfd_10g", CLIP_BACKEND="siglip", **served)
    assert host.changes() == REPLACED
    kept = ["CLIP_BACKEND=siglip", "FACE_DETECTOR=scrfd_10g"]
    assert host.ours["environment"] == kept
    del served["IMMICH_PORT"]
    done = host.run(IMMICH_PORT="")
    assert done.code == 0, "the port is kept too, and there is nothing to ask"
    assert host.changes() == []
    host.run("--yes", FACE_DETECTOR="", IMMICH_PORT="")
    assert host.changes() == REPLACED
    assert host.ours["environment"] == kept[:1]


def test_a_dry_run_asks_nothing(host: PlannedHost, served: dict[str, str]) -> None:
    done = host.run("--dry-run", "--clip-backend", "siglip", **served)
    assert done.code == 0, done.err
    assert "Vectors of two backends do not mix" in done.out
    shown = re.findall(r"\$ docker (stop|rename|run -d|rm)\b", done.out)
    assert shown == REPLACED
    assert host.changes() == []


def test_a_change_of_backend_is_asked_about(host: PlannedHost, served: dict[str, str]) -> None:
    done = host.run("--clip-backend", "siglip", **served)
    assert done.reason == "this needs an answer, and there is nobody to ask: Change it?"
    done = host.run_in_terminal("n\n", "--clip-backend", "siglip", **served)
    assert done.reason == "stopped; the worker was not changed."
    assert "Vectors of two backends do not mix" in done.out
    assert host.changes() == []
    assert host.run_in_terminal("y\ny\n", "--clip-backend", "siglip", **served).code == 0
    assert host.changes() == REPLACED


def test_a_container_that_was_stopped_is_started(host: PlannedHost, served: dict[str, str]) -> None:
    host.container(**{**host.ours, "status": "exited"})
    assert host.run("--yes", **served).code == 0
    assert host.changes() == ["start"]


@pytest.mark.parametrize("status", ["created", "dead", "restarting", "paused"])
def test_a_container_in_a_strange_state_is_made_anew(host: PlannedHost, served: dict[str, str], status: str) -> None:
    host.container(**{**host.ours, "status": status})
    assert host.run("--yes", **served).code == 0
    assert host.changes() == (REPLACED if status in ("restarting", "paused") else REPLACED[1:])


def test_a_port_that_was_taken_meanwhile(host: PlannedHost, served: dict[str, str]) -> None:
    host.container(**{**host.ours, "status": "exited"})
    host.listens(int(served["IMMICH_PORT"]))
    done = host.run("--yes", **served)
    assert done.reason.startswith(f"port {served['IMMICH_PORT']} is taken by another program")
    assert host.changes() == []


def test_ours_may_have_its_port(host: PlannedHost, served: dict[str, str]) -> None:
    host.listens(int(served["IMMICH_PORT"]))
    assert host.run("--yes", FACE_DETECTOR="scrfd_10g", **served).code == 0
    assert host.changes() == REPLACED


def test_other_containers_are_never_touched(host: PlannedHost) -> None:
    host.container("immich_server", ports="0.0.0.0:2283->2283/tcp")
    host.container("immich-ml-hailo-before")
    before = host.state["containers"]
    host.run("--yes")
    host.run("--yes", "--clip-backend=siglip")
    assert host.changes() == REPLACED
    after = host.state["containers"]
    assert {name: after[name] for name in before} == before
    named = {words[-1] for words in host.calls() if words[0] in ("rm", "stop", "start", "rename")}
    assert named == {"immich-ml-hailo", "immich-ml-hailo-replaced"}
