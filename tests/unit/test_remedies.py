"""How model files are fetched and replaced, in the words for a plain host and in those for the image."""

import ast
import re
import sys
from pathlib import Path

import pytest
from project import PROJECT

from ml_target import remedies
from ml_target.catalogue.files import OCR_DICTIONARY, SCRFD_2_5G_HEF
from ml_target.catalogue.needs import needs
from ml_target.config import Settings
from ml_target.diagnostics.card import library_version
from ml_target.engines.hailo.status import explain
from ml_target.errors import FetchError, ModelError
from ml_target.store import Store
from ml_target.store.verify import require_sound

PLAIN = remedies.command("models fetch")
INSIDE = "docker exec immich-ml-hailo python3 -m ml_target models fetch"
REBUILD = "on the host, in this project's folder, then ./setup.sh there (or build the image again)"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SETTINGS = ("ENGINE", "CLIP_BACKEND", "CLIP_TEXT_ENGINE", "FACE_DETECTOR", "FACE_RECOGNIZER", "MODELS_DIR")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host of no settings, on which the project's models are in a folder that may be written."""
    for name in (*SETTINGS, remedies.IN_IMAGE, remedies.MODELS_COMMAND):
        monkeypatch.delenv(name, raising=False)
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setattr(remedies, "PROJECT", tmp_path)
    monkeypatch.setattr("ml_target.config.nodes", lambda root: [*tmp_path.glob("hailo0")])
    monkeypatch.setattr(remedies, "MOUNTS", tmp_path / "mountinfo")
    monkeypatch.setattr(remedies, "_for_card", lambda: True)
    return models


@pytest.fixture
def image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The image for a card, with its models baked in."""
    monkeypatch.setenv(remedies.IN_IMAGE, "1")
    folder.chmod(0o555)
    (folder.parent / "hailo0").touch()
    return folder


def mount(folder: Path) -> None:
    (folder.parent / "mountinfo").write_text(f"36 35 98:0 /mnt/m {folder} ro,noatime - ext4 /dev/sda1 ro\n")


# -------------------------------------------------------------------- plain


def test_on_a_plain_host_it_is_the_plain_command(folder: Path) -> None:
    folder.chmod(0o555)  # a host's own folder that may not be written is another matter
    assert remedies.fetch() == PLAIN
    assert remedies.fetch("--engine", "cpu") == f"{PLAIN} --engine cpu"
    assert remedies.replace() == f"delete it, then {PLAIN}"
    assert remedies.fetch_again() == f"Fetch it again: {PLAIN}"
    assert str(Store(folder).missing(OCR_DICTIONARY)).startswith(f"ppocrv5_dict.txt is not there: run {PLAIN}, put ")
    assert f" into {folder}, or point MODELS_MIRROR" in str(Store(folder).missing(OCR_DICTIONARY))


def test_another_terminal_is_told_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It fetches the files of this worker, into its folder, wherever the line is read."""
    monkeypatch.setenv("CLIP_BACKEND", "siglip")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "my models"))
    settings = f"CLIP_BACKEND=siglip MODELS_DIR='{tmp_path / 'my models'}'"
    assert remedies.fetch() == f"{settings} {PLAIN}"
    assert remedies.check_file() == f"Check its file: `{settings} {remedies.command('models verify')}`."
    monkeypatch.setenv("ENGINE", "cpu")  # on a machine with a card, fetch would get the card's files
    assert remedies.fetch() == f"ENGINE=cpu {settings} {PLAIN}"
    assert remedies.fetch("--engine", "cpu") == f"{settings} {PLAIN} --engine cpu"
    monkeypatch.setenv("ENGINE", "auto")
    assert remedies.fetch() == f"{settings} {PLAIN}"


def test_the_script_that_runs_a_container_is_named(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container is gone when its words are read."""
    image.chmod(0o755)
    monkeypatch.setenv(remedies.MODELS_COMMAND, "scripts/models.sh")
    assert remedies.command("models") == "scripts/models.sh"
    assert remedies.fetch("--engine", "hailo") == "scripts/models.sh fetch --engine hailo"
    assert remedies.command("doctor").startswith("docker exec ")


def test_a_hailo_8l_is_named(folder: Path) -> None:
    wanted = f"run {PLAIN} --engine hailo --chip hailo8l, put "
    assert wanted in str(Store(folder).missing(SCRFD_2_5G_HEF["hailo8l"]))
    assert f"run {PLAIN}, put " in str(Store(folder).missing(SCRFD_2_5G_HEF["hailo8"]))


# ------------------------------------------------------------------ commands


def test_in_an_environment_a_command_has_its_python_by_the_full_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after ./setup.sh serve: another python3 has none of the packages, and the reader may be in any folder."""
    monkeypatch.setattr(sys, "prefix", "/opt/immich ml/.venv")
    monkeypatch.setattr(sys, "executable", "/opt/immich ml/.venv/bin/python")
    assert remedies.command("doctor") == "'/opt/immich ml/.venv/bin/python' -m ml_target doctor"
    assert remedies.command("selfcheck", ENGINE="cpu").startswith("ENGINE=cpu '/opt/immich ml/.venv/bin/python' -m")


def test_the_systems_python_has_its_short_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("python3", "python3.11"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert remedies.command("models", "fetch") == "python3 -m ml_target models fetch"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3.11"))
    assert remedies.command() == f"{tmp_path}/python3.11 -m ml_target"


def test_what_a_container_prints_is_typed_on_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(remedies.IN_IMAGE, "1")
    assert remedies.command("doctor") == "docker exec immich-ml-hailo python3 -m ml_target doctor"
    told = remedies.command("selfcheck", ENGINE="cpu", MODELS_DIR="/a b")
    assert told == "docker exec -e ENGINE=cpu -e MODELS_DIR='/a b' immich-ml-hailo python3 -m ml_target selfcheck"


def test_no_message_names_a_python_of_its_own() -> None:
    """Commands of ours come from `remedies.command`; what is written out is documentation, or for a container."""
    written = re.compile(r"(?<!docker exec immich-ml-hailo )(?<!docker exec -i immich-ml-hailo )python3? -m ml_target")
    for file in (PROJECT / "ml_target").rglob("*.py"):
        if not written.search(source := file.read_text(encoding="utf-8")):
            continue
        tree = ast.parse(source)
        documents = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
        told = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
        assert not [words for words in told if written.search(words) and words not in documents], file


# -------------------------------------------------------------------- image


def test_the_image_says_that_it_is_one() -> None:
    dockerfile = (PROJECT / "Dockerfile.immich-ml-hailo").read_text(encoding="utf-8")
    assert re.search(rf"^ENV (?:.*\\\n)*? *{remedies.IN_IMAGE}=1 ", dockerfile, re.MULTILINE)


def test_baked_models_are_replaced_on_the_host(image: Path) -> None:
    fetch = "scripts/models.sh fetch --engine hailo"
    assert remedies.fetch() == f"{fetch} {REBUILD}"
    assert remedies.fetch("a.hef") == f"scripts/models.sh fetch a.hef {REBUILD}"
    assert remedies.replace() == f"delete it from models/ on the host, then {fetch} {REBUILD}"
    assert remedies.fetch_again() == f"Fetch it again: {fetch} {REBUILD}"


def test_the_image_for_the_processor(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "_for_card", lambda: False)
    (image.parent / "hailo0").unlink()
    wanted = "scripts/models.sh fetch --engine cpu on the host, in this project's folder, then ./setup.sh --cpu there"
    assert remedies.fetch().startswith(wanted)


def test_which_image_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is installed: a package that fails to load is a card's image all the same."""
    monkeypatch.undo()
    there = remedies._for_card()
    installed = tmp_path / "hailort-4.23.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: hailort\nVersion: 4.23.0\n")
    assert there == bool(library_version())
    monkeypatch.syspath_prepend(str(tmp_path))
    assert remedies._for_card()


def test_the_engine_that_is_told_counts(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "CPU")
    assert remedies.host_fetch() == "scripts/models.sh fetch --engine cpu"
    monkeypatch.setenv("ENGINE", "auto")
    assert remedies.host_fetch() == "scripts/models.sh fetch --engine hailo"


def test_a_folder_that_may_be_written_takes_the_plain_command(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("MODELS_DIR", str(data))
    assert remedies.fetch() == INSIDE
    data.chmod(0o555)
    assert remedies.fetch().endswith(REBUILD)
    image.chmod(0o755)
    assert remedies.fetch() == INSIDE


def test_what_was_fetched_is_served_after_a_new_start(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remedies.anew_after(remedies.fetch()) == remedies.fetch(), "it ends with that already"
    image.chmod(0o755)
    assert remedies.anew_after(remedies.fetch()) == f"{INSIDE} && docker restart immich-ml-hailo"
    monkeypatch.delenv(remedies.IN_IMAGE)
    assert remedies.anew_after("x") == "x, then start the worker again"


def test_another_container_writes_a_folder_as_its_owner(image: Path) -> None:
    told = remedies.in_new_container("hailort fetch", mount="FOLDER:/hailort")
    assert told.startswith('docker run --rm -it -v FOLDER:/hailort --user "$(stat -c %u:%g FOLDER)" IMAGE python3 -m ')


def test_a_read_only_mount_needs_no_new_image(image: Path) -> None:
    mount(image)
    words = remedies.fetch_again()
    assert words.startswith("Fetch it again: scripts/models.sh fetch")
    assert words.endswith(
        "(MODELS_DIR=FOLDER before it names the one that is mounted here), then restart this container"
    )
    assert "setup.sh" not in words
    assert "put ppocrv5_dict.txt into the folder that is mounted here" in str(Store(image).missing(OCR_DICTIONARY))


def test_settings_that_decide_are_handed_on(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_BACKEND", "siglip")
    monkeypatch.setenv("FACE_DETECTOR", "scrfd_2.5g")  # the default
    assert remedies.host_fetch("--engine", "cpu") == "CLIP_BACKEND=siglip scripts/models.sh fetch --engine cpu"
    told = Settings(face_recognizer="arcface_mobilefacenet", clip_text_engine="cpu")
    assert remedies.host_fetch("x", settings=told) == (
        "CLIP_TEXT_ENGINE=cpu FACE_RECOGNIZER=arcface_mobilefacenet scripts/models.sh fetch x"
    )


def test_no_setting_that_decides_is_forgotten() -> None:
    asked: set[str] = set()

    class Watched(Settings):
        def __getattribute__(self, name: str) -> object:
            asked.add(name)
            return super().__getattribute__(name)

    for engine in ("cpu", "hailo"):
        needs(Watched(), "cpu" if engine == "cpu" else "hailo")
    assert asked == set(remedies.DECIDING)


# ----------------------------------------------------------------- messages


def test_the_store_says_it(image: Path) -> None:
    store = Store(image)
    assert "scripts/models.sh fetch --engine hailo on the host" in str(store.missing(OCR_DICTIONARY))
    assert "put ppocrv5_dict.txt into models/ on the host, or" in str(store.missing(OCR_DICTIONARY))
    assert "--engine hailo --chip hailo8l on the host" in str(store.missing(SCRFD_2_5G_HEF["hailo8l"]))
    with pytest.raises(FetchError, match=r"cannot be written\. Run scripts/models\.sh fetch .* on the host") as caught:
        store.fetch(OCR_DICTIONARY)
    assert "chmod" not in str(caught.value)


def test_a_damaged_file_says_it(image: Path) -> None:
    image.chmod(0o755)
    path = image / OCR_DICTIONARY.name
    path.touch()
    image.chmod(0o555)
    with pytest.raises(ModelError, match=r"is empty\. Fetch it again: scripts/"):
        require_sound(OCR_DICTIONARY, path)


@pytest.mark.parametrize("status", [14, 26, 91, 92, 93])
def test_hailorts_statuses_say_it(image: Path, status: int) -> None:
    words = explain(status)
    assert ("elete it from models/ on the host" if status == 93 else "etch it again: scripts/models.sh") in words
    assert REBUILD in words
    assert PLAIN not in words
