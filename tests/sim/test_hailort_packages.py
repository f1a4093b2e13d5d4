"""HailoRT's packages in a folder: the driver's version is taken, others are refused with the names of the files."""

import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from standin_hailort import deb_name, wheel_name, write_deb, write_packages, write_wheel

from ml_target import remedies
from ml_target.errors import SettingsError
from ml_target.hailort import accepted, place
from ml_target.hailort.load import import_hailort
from ml_target.hailort.packages import Platform, absent, pair_for, pairs
from ml_target.hailort.unpack import unpacked

Spoil = Callable[[Path], None]
VERSIONS = ("4.20.0", "4.21.0", "4.22.0", "4.23.0", "4.24.0")
PC = Platform("x86_64", "cp312")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
LOAD = """
import logging, sys
from pathlib import Path
from ml_target.hailort.load import import_hailort
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
folder, root, base = map(Path, sys.argv[1:])
import_hailort(folder, root, [base])
import importlib.metadata, hailo_platform
print("library", hailo_platform.__version__, "package", importlib.metadata.version("hailort"))
"""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of every version for this machine, and what else lies in such folders."""
    folder = tmp_path_factory.mktemp("hailort")
    for version in VERSIONS:
        write_packages(folder, version, ARCH, PYTHON)
    write_wheel(folder / wheel_name("4.23.0", ARCH, "3.9"), "4.23.0")
    for name in ("hailort-pcie-driver_4.23.0_all.deb", "hailo_tappas-3.30.0.whl", "notes.txt"):
        (folder / name).write_text("foreign")
    return folder


def host(folder: Path, driver: str) -> Path:
    """A root folder in which the driver tells its version."""
    (folder / "sys/module/hailo_pci").mkdir(parents=True)
    (folder / "sys/module/hailo_pci/version").write_text(f"{driver}\n")
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_each_driver_gets_its_own_version(version: str, every: Path, tmp_path: Path) -> None:
    (base := tmp_path / "unpacked").mkdir()
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, every, host(tmp_path / "root", version), base], capture_output=True, text=True
    )
    assert loaded.returncode == 0, loaded.stderr
    assert f"HailoRT {version} (as the driver {version}), from {deb_name(version, ARCH)} and" in loaded.stdout
    assert f"library {version} package {version}" in loaded.stdout


def test_a_folder_without_packages_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = object()
    monkeypatch.setitem(sys.modules, "hailo_platform", installed)
    assert import_hailort(tmp_path / "not there", tmp_path) is installed


def test_unpacks_once_and_anew_for_other_files(every: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    write_packages(folder, "4.23.0", ARCH, PYTHON)
    here = Platform()
    (pair,) = pairs(folder, here)
    done = unpacked(pair, here, tmp_path)
    (done / "mark").touch()
    assert (unpacked(pair, here, tmp_path) / "mark").exists()
    write_wheel(pair.wheel, "4.23.0")
    assert unpacked(pair, here, tmp_path) != done
    assert [path.name for path in done.parent.iterdir() if path.name.startswith("new-")] == []


@pytest.mark.parametrize(
    ("driver", "there", "reason", "remedy"),
    [
        (
            "4.21.0",
            ["4.23.0"],
            "hailort_4.21.0_amd64.deb and hailort-4.21.0-cp312-cp312-linux_x86_64.whl are",
            "4.21.0",
        ),
        (
            "",
            ["4.20.0", "4.23.0"],
            "holds HailoRT 4.20.0, 4.23.0, and the driver's version",
            "Leave only",
        ),
    ],
)
def test_refuses_where_none_fits(driver: str, there: list[str], reason: str, remedy: str, tmp_path: Path) -> None:
    for version in there:
        (tmp_path / deb_name(version, "amd64")).touch()
        (tmp_path / wheel_name(version, "amd64", "3.12")).touch()
    with pytest.raises(SettingsError) as refused:
        pair_for(driver, tmp_path, PC)
    assert reason in refused.value.reason
    assert remedy in refused.value.remedy


def test_a_lone_version_is_taken_where_the_driver_tells_none(tmp_path: Path) -> None:
    (tmp_path / deb_name("4.22.0", "amd64")).touch()
    (tmp_path / "hailort-4.22.0-py3-none-any.whl").touch()
    assert pair_for("", tmp_path, PC).version == "4.22.0"


def test_names_only_the_file_that_lacks(tmp_path: Path) -> None:
    (tmp_path / deb_name("4.23.0", "amd64")).touch()
    (tmp_path / wheel_name("4.23.0", "amd64", "3.11")).touch()
    with pytest.raises(SettingsError, match=r"hailort-4\.23\.0-cp312-cp312-linux_x86_64\.whl is missing"):
        pair_for("4.23.0", tmp_path, PC)


def test_a_driver_s_version_may_have_a_suffix(tmp_path: Path) -> None:
    for name in (deb_name("4.23.0", "amd64"), wheel_name("4.23.0", "amd64", "3.12")):
        (tmp_path / name).touch()
    assert pair_for("4.23.0-1", tmp_path, PC).version == "4.23.0"


@pytest.mark.parametrize(("driver", "words"), [("5.1.0", "does not drive a Hailo-8"), ("4.17.0", "is too old")])
def test_a_driver_that_no_package_helps(driver: str, words: str, tmp_path: Path) -> None:
    """Its packages are not asked for, be there some of them or none."""
    for name in (deb_name(driver, "amd64"), wheel_name(driver, "amd64", "3.12")):
        (tmp_path / name).touch()
    with pytest.raises(SettingsError, match=words) as refused:
        pair_for(driver, tmp_path, PC)
    assert "driver of branch 4" in refused.value.remedy
    assert words in absent(driver)
    assert ".whl" not in absent(driver)


def test_where_they_go_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a folder that is mounted, or the one that a template has chosen, as Home Assistant's has."""
    monkeypatch.setenv(remedies.IN_IMAGE, "1")
    monkeypatch.delenv("HAILORT_DIR", raising=False)
    assert "into a folder, and start the container with -v FOLDER:/hailort:ro --tmpfs " in absent("4.23.0")
    monkeypatch.setenv("HAILORT_DIR", "/share/hailort")
    assert "of the driver's version, into /share/hailort. " in absent("4.23.0")


def test_names_that_are_not_hailort_s_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own package, and what a browser calls a second download, where nothing of HailoRT is installed."""
    monkeypatch.setitem(sys.modules, "hailo_platform", None)  # as if it were not installed
    others = ["hailort-pcie-driver_4.23.0_all.deb", "hailort_4.23.0_amd64 (1).deb"]
    for name in (*others, "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SettingsError) as refused:
        import_hailort(tmp_path, host(tmp_path / "root", "4.23.0"))
    assert refused.value.reason.endswith(f"has the name of its packages: {', '.join(others)}")
    assert f"Put {Platform().deb('4.23.0')} and " in refused.value.remedy
    (tmp_path / deb_name("4.22.0", "amd64")).touch()
    with pytest.raises(SettingsError, match=r"other names were passed over: hailort-pcie-driver"):
        pair_for("4.23.0", tmp_path, PC)


def test_refuses_another_machine(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="armv7l"):
        pair_for("4.23.0", tmp_path, Platform("armv7l", "cp312"))


def broken_deb(deb: Path, wheel: Path) -> None:
    deb.write_bytes(deb.read_bytes()[: -deb.stat().st_size // 3])


def page_for_deb(deb: Path, wheel: Path) -> None:
    deb.write_text("<html>Log in</html>")


def renamed_deb(deb: Path, wheel: Path) -> None:
    write_deb(deb, "4.21.0", ARCH)


def foreign_deb(deb: Path, wheel: Path) -> None:
    write_deb(deb, "4.23.0", "arm64" if ARCH == "amd64" else "amd64")


def deb_without_library(deb: Path, wheel: Path) -> None:
    write_deb(deb, "4.23.0", ARCH, library=False)


def broken_wheel(deb: Path, wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-400])


def flipped_wheel(deb: Path, wheel: Path) -> None:
    """The directory at the end is whole, and what it points to is not."""
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hailo_platform/__init__.py", bytes(range(256)) * 40)
    content = bytearray(wheel.read_bytes())
    content[60:80] = b"\xff" * 20
    wheel.write_bytes(content)


def renamed_wheel(deb: Path, wheel: Path) -> None:
    write_wheel(wheel, "4.22.0")


def another_wheel(deb: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tappas/__init__.py", "")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (broken_deb, "is damaged"),
        (page_for_deb, "is no Debian package"),
        (renamed_deb, "holds HailoRT 4.21.0"),
        (foreign_deb, "is made for"),
        (deb_without_library, "holds no libhailort"),
        (broken_wheel, "is no Python wheel"),
        (flipped_wheel, "is (no Python wheel|damaged)"),
        (renamed_wheel, "holds HailoRT 4.22.0"),
        (another_wheel, "holds no hailo_platform"),
    ],
)
def test_refuses_packages_that_are_not_what_their_names_say(spoil: object, reason: str, tmp_path: Path) -> None:
    write_packages(tmp_path, "4.23.0", ARCH, PYTHON)
    here = Platform()
    (pair,) = pairs(tmp_path, here)
    spoil(pair.deb, pair.wheel)  # type: ignore[operator]
    (base := tmp_path / "unpacked").mkdir()
    with pytest.raises(SettingsError, match=reason) as refused:
        unpacked(pair, here, base)
    assert "hailort fetch" in refused.value.remedy
    assert not list(next(base.iterdir()).iterdir())


def test_refuses_a_file_that_is_no_longer_the_accepted_one(tmp_path: Path) -> None:
    write_packages(tmp_path, "4.23.0", ARCH, PYTHON)
    (pair,) = pairs(tmp_path, Platform())
    accepted.remember(tmp_path, pair.deb.name, accepted.sha256(pair.deb))
    accepted.require_unchanged(pair)
    pair.deb.write_bytes(b"another")
    with pytest.raises(SettingsError, match="not the file that was accepted"):
        accepted.require_unchanged(pair)


def loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def nowhere(file: Path) -> None:
    """As a link of the host leads in a container."""
    file.unlink()
    file.symlink_to("/srv/not/mounted/here")


def folder_of_that_name(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [loop, nowhere, folder_of_that_name])
@pytest.mark.parametrize("which", ["deb", "wheel"])
def test_a_file_that_cannot_be_read_is_not_called_damaged(spoil: Spoil, which: str, tmp_path: Path) -> None:
    write_packages(tmp_path, "4.23.0", ARCH, PYTHON)
    (pair,) = pairs(tmp_path, Platform())
    spoil(getattr(pair, which))
    for look in (lambda: accepted.require_unchanged(pair), lambda: unpacked(pair, Platform(), tmp_path)):
        with pytest.raises(SettingsError) as refused:
            look()
        assert "cannot be" in refused.value.reason
        assert "again" not in refused.value.remedy
    with pytest.raises(SettingsError, match=f"{getattr(pair, which).name} cannot be read") as refused:
        accepted.require_unchanged(pair)
    assert "no link" in refused.value.remedy


def test_says_of_each_place_why_nothing_can_be_unpacked_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not there is not there") as refused:
        place.place([tmp_path / "not there"])
    assert refused.value.reason.startswith("There is nowhere to unpack HailoRT's library: /")
    assert "--tmpfs /run/hailort:exec" in refused.value.remedy


def test_a_noexec_mount_is_named(tmp_path: Path) -> None:
    """Docker's `--tmpfs` is such a mount. The library there could not be mapped."""
    mounted = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o noexec none {tmp_path} && exec {sys.executable} -c \"$0\"",
         f"from pathlib import Path; from ml_target.hailort.place import place; place([Path('{tmp_path}')])"],
        capture_output=True, text=True,
    )  # fmt: skip
    if "permi" in mounted.stderr.lower() or "not allowed" in mounted.stderr:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip().splitlines()[-1]}")
    assert "is mounted noexec, so no library there can be loaded" in mounted.stderr
