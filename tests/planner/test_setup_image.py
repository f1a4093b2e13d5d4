"""Set-up with an image that is taken as it is: nothing is built, HailoRT and the models are mounted."""

import shlex

import pytest
from project import PROJECT
from setup_planned import PlannedHost
from setup_runs import CONFINED, REPLACED

IMAGE = "registry.example/owner/immich-ml-hailo:1.0"


@pytest.fixture
def host(host: PlannedHost) -> PlannedHost:
    """A host that can pull it."""
    host.change(registry=[IMAGE])
    return host


def kinds(host: PlannedHost) -> list[str]:
    """What changes something, in its order."""
    words = [call[0] for call in host.calls() if call[0] in ("pull", "build")]
    return [*words, *host.changes()]


def test_from_a_bare_host_to_a_tested_worker(host: PlannedHost) -> None:
    done = host.run("--yes", "--image", IMAGE)
    assert done.code == 0, done.err
    assert kinds(host) == ["pull", "fetch", "run -d"]
    start = host.call("run", "-d")
    folder = host.checkout
    assert start[: start.index("-e")] == [
        "run", "-d", "--device=/dev/hailo0:/dev/hailo0", f"--group-add={host.group}",
        "-v", f"{folder}/hailo-rt-4:/hailort:ro", "--tmpfs", "/run/hailort:exec,mode=1777,size=128m",
        "--publish", "65000:3003", "-v", f"{folder}/models:/app/models:ro",
    ]  # fmt: skip
    assert " ".join(CONFINED) in " ".join(start)
    assert start[-1] == IMAGE
    titles = [line for line in done.out.splitlines() if line.startswith("[")]
    assert [title[:5] for title in titles] == [f"[{n}/6]" for n in range(1, 7)]
    assert "Image with the models" not in done.out
    chip = host.call("run", "--rm", "--device=/dev/hailo0:/dev/hailo0")
    assert f"{folder}/hailo-rt-4:/hailort:ro" in chip, "doctor --chip needs HailoRT, too"
    fetch = next(words for words in host.calls() if "fetch" in words)
    assert "--baked" not in fetch
    assert IMAGE in fetch


def test_hailort_gets_the_executable_mount_that_the_documents_have() -> None:
    """The one of the page's `docker run` line."""
    text = (PROJECT / "docs/templates.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("docker run -d"))
    assert "--tmpfs /run/hailort:exec,mode=1777,size=128m" in line
    assert ":/hailort:ro" in line
    assert ":/app/models" in line


def test_the_processor_needs_neither_hailort_nor_its_mount(host: PlannedHost) -> None:
    host.no_card()
    host.no_packages()
    done = host.run("--yes", "--cpu", "--image", IMAGE)
    assert done.code == 0, done.err
    start = " ".join(host.call("run", "-d"))
    assert "hailort" not in start
    assert "[5/5] Test" in done.out


def test_an_image_that_is_there_is_not_pulled(host: PlannedHost) -> None:
    host.change(images={IMAGE: {"id": "sha256:1", "labels": {}}}, registry=[])
    done = host.run("--yes", IMAGE=IMAGE)
    assert done.code == 0, done.err
    assert kinds(host) == ["fetch", "run -d"]
    assert f"{IMAGE} is there (docker pull {IMAGE} gets a newer one of that name)" in done.out


def test_the_image_is_kept_and_left_again(host: PlannedHost) -> None:
    assert host.run("--yes", "--image", IMAGE).code == 0
    assert f" IMAGE={IMAGE} " in host.note.read_text()
    done = host.run()
    assert done.code == 0, done.err
    assert kinds(host) == []
    host.change(containers={})
    assert f"image {IMAGE}" in host.run("--dry-run").out, "from the note"
    assert host.run("--yes", IMAGE="").code == 0
    assert "IMAGE=" not in host.note.read_text()
    assert host.call("run", "-d")[-1] == "immich-ml-hailo:v4.23.0"


def test_new_files_are_mounted_anew(host: PlannedHost) -> None:
    """The worker looks at its models when it starts, so a container with others is started anew."""
    assert host.run("--yes", "--image", IMAGE).code == 0
    (host.checkout / "models/mine.hef").write_text("network")
    assert host.run("--yes").code == 0
    assert host.changes() == REPLACED
    (host.checkout / "models/checksums.json").write_text("{}")
    assert host.run("--yes").code == 0
    assert host.changes() == []


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        ("manifest for x not found: manifest unknown", "there is none of that name, or it is not public.", "IMAGE= "),
        ("pull access denied for x, repository does not exist", "there is none of that name", "docker login"),
        ("toomanyrequests: You have reached your pull rate limit", "lets this address fetch no more", "docker login"),
        ("no matching manifest for linux/arm/v7", "it is not there for this machine.", "IMAGE= ./setup.sh"),
        ("dial tcp: lookup registry.example: no such host", "its registry cannot be reached.", "HTTPS_PROXY"),
        ("write /x: no space left on device", "Docker has no space left.", "docker system df"),
        ("something else", "could not be fetched.", "IMAGE= ./setup.sh"),
    ],
)
def test_an_image_that_cannot_be_had(host: PlannedHost, words: str, reason: str, remedy: str) -> None:
    host.fault("pull", words)
    done = host.run("--yes", "--image", IMAGE)
    assert done.refused
    assert done.reason.startswith(f"the image {IMAGE} could not be fetched")
    assert reason in done.reason
    assert remedy in done.remedy
    assert words in done.out
    assert host.changes() == []


@pytest.mark.parametrize("name", ["", "a b", "Upper/case", "-x", "name;reboot"])
def test_a_name_that_is_none(host: PlannedHost, name: str) -> None:
    done = host.run("--yes", "--image", name)
    assert done.reason == f"--image takes a name; not '{name}'."


def test_folders_that_the_containers_user_may_not_read(host: PlannedHost) -> None:
    (host.checkout / "models/mine.hef").write_text("network")
    (host.checkout / "models/mine.hef").chmod(0o600)
    done = host.run("--yes", "--image", IMAGE)
    assert done.refused
    assert done.reason == f"{host.checkout}/models/mine.hef cannot be read by the container's user 1000."
    assert "chmod -R a+rX" in done.remedy
    assert "run -d" not in host.changes()


def test_a_dry_run_shows_it(host: PlannedHost) -> None:
    before = host.tree()
    done = host.run("--dry-run", "--image", IMAGE)
    assert done.code == 0, done.err
    assert host.tree() == before
    assert f"    $ docker pull {IMAGE}\n" in done.out
    assert "docker build" not in done.out


# ------------------------------------------------------------------ no HailoRT

NAMES = ["hailort_4.23.0_amd64.deb", "hailort-4.23.0-cp312-cp312-linux_x86_64.whl"]
SOURCE = "http://dev-public.hailo.ai/2025_10/Hailo8/"


@pytest.fixture
def empty(host: PlannedHost) -> PlannedHost:
    """A host on which HailoRT's packages are missing, and can be fetched."""
    host.no_packages()
    host.change(packages=NAMES)
    return host


def fetched(host: PlannedHost) -> list[str]:
    """The call that fetches HailoRT."""
    return next(words for words in host.calls() if "hailort" in words and "fetch" in words)


def test_hailort_is_fetched_after_a_yes_of_its_own(empty: PlannedHost) -> None:
    """The question names the server and says that it is plain http; checksums are asked about where it is fetched."""
    done = empty.run_in_terminal("y\ny\nn\ny\n", "--no-start")
    assert done.code == 0, done.err
    assert f"Fetch them from {SOURCE}, over plain http? [Y/n] " in done.err
    assert "anybody on the way could change them" in done.out
    folder = f"{empty.checkout}/hailo-rt-4:/hailort"
    call = fetched(empty)
    assert call[:3] == ["run", "-it", "--rm"]
    assert call[call.index("--user") + 1] == "0:0"
    assert folder in call
    assert shlex.join(call).endswith(
        "--entrypoint python3 immich-ml-hailo:cpu-slim -m ml_target hailort fetch --to /hailort --version 4.23.0 "
        "--machine x86_64 --python 3.12 --agreed"
    )
    assert empty.changes()[:2] == ["build immich-ml-hailo:cpu-slim", "fetch"], "in an image that needs no HailoRT"


def test_no_is_an_answer_and_the_way_by_hand_is_told(empty: PlannedHost) -> None:
    done = empty.run_in_terminal("n\n", "--no-start")
    assert done.refused
    assert "is not complete in" in done.reason
    assert "AI Software Suite" in done.remedy
    assert empty.changes() == []


def test_yes_to_everything_is_no_yes_to_plain_http(empty: PlannedHost) -> None:
    reason, remedy = empty.refusal()
    assert "is not complete in" in reason
    assert f"from {SOURCE}, which speaks plain http: ./setup.sh --fetch-hailort" in remedy
    assert "--fetch-hailort" in empty.run("--dry-run").remedy


def test_who_says_so_beforehand_is_not_asked(empty: PlannedHost) -> None:
    done = empty.run("--yes", "--fetch-hailort", "--no-start", HAILORT_SOURCE="https://files.lan/hailort")
    assert done.code == 0, done.err
    call = fetched(empty)
    assert call[-1] == "--yes"
    assert call[call.index("HAILORT_SOURCE") - 1] == "-e"
    assert empty.run("--yes", "--no-start").code == 0, "they are there now"


def test_it_is_fetched_with_the_image_that_is_taken(empty: PlannedHost) -> None:
    done = empty.run("--yes", "--fetch-hailort", "--image", IMAGE)
    assert done.code == 0, done.err
    assert IMAGE in fetched(empty)
    assert kinds(empty) == ["pull", "fetch", "fetch", "run -d"]


def test_what_could_not_be_fetched_is_told(empty: PlannedHost) -> None:
    empty.change(packages=NAMES[:1])
    done = empty.run("--yes", "--fetch-hailort")
    assert done.refused
    assert f"missing: {NAMES[1]}" in done.remedy
    assert f"missing: {NAMES[0]}" not in done.remedy


def test_a_file_that_is_there_and_damaged_is_for_people_to_look_at(empty: PlannedHost) -> None:
    empty.package(NAMES[0], "<html>Please log in</html>")
    done = empty.run("--yes", "--fetch-hailort")
    assert done.refused
    assert "is not a Debian package" in done.remedy
    assert empty.changes() == []


def test_a_name_that_reads_like_a_complaint_is_none(empty: PlannedHost) -> None:
    empty.package("this is not a driver.deb")
    assert empty.run("--yes", "--fetch-hailort", "--no-start").code == 0


def test_a_dry_run_shows_the_fetch(empty: PlannedHost) -> None:
    done = empty.run("--dry-run", "--fetch-hailort")
    assert done.code == 0, done.err
    assert "-m ml_target hailort fetch --to /hailort --version 4.23.0" in done.out
    assert "$ docker build -t hailo-base:v4.23.0" in done.out, "and goes on as if they were there"


def test_on_the_processor_it_is_no_question(host: PlannedHost) -> None:
    assert host.run("--yes", "--cpu", "--fetch-hailort").reason == (
        "--fetch-hailort is about a card, --cpu is without one."
    )
