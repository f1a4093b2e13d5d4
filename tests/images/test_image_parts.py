"""The scripts that run inside a build of the images, run by themselves: what they put together, what they refuse."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import PROJECT
from standin_hailort import deb_name, wheel_name, write_deb, write_packages, write_wheel

SCRIPTS = PROJECT / "scripts"
WHEEL = wheel_name()
DEB = deb_name()

needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb is not here (Debian and Ubuntu have it)"
)


class Unpack:
    """unpack_hailort.py on a system that calls itself `arch`, with the files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hailo-rt-4"
        self.out = folder / "out"
        self.folder.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.system("amd64")

    def system(self, arch: str) -> None:
        script = self.bin / "dpkg"
        script.write_text(f"#!/bin/sh\necho {arch}\n")
        script.chmod(0o755)

    def run(self, version: str = "4.23.0", deb: str = "", whl: str = "") -> subprocess.CompletedProcess[str]:
        """With nothing but the standard library, as in that stage of the build."""
        words = [f"{SCRIPTS}/unpack_hailort.py", self.folder.name, self.out.name, version, "3.12", deb, whl]
        environment = {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            [sys.executable, "-S", "-E", *words],
            cwd=self.folder.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refused(self, *words: str, **arguments: str) -> str:
        """Its complaint, which holds `words` and leaves nothing behind."""
        done = self.run(**arguments)
        assert done.returncode == 1, done.stdout
        for word in words:
            assert word in done.stderr
        assert not self.out.exists()
        return done.stderr


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    return Unpack(tmp_path)


def content(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


# ----------------------------------------------------------------- HailoRT


@needs_dpkg
@pytest.mark.parametrize(("arch", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_the_architecture_is_the_system_s(unpack: Unpack, arch: str, machine: str) -> None:
    unpack.system(arch)
    write_packages(unpack.folder, arch="amd64")
    write_packages(unpack.folder, arch="arm64")
    done = unpack.run()
    assert done.returncode == 0, done.stderr
    wheel = f"hailort-4.23.0-cp312-cp312-linux_{machine}.whl"
    assert content(unpack.out) == {"usr/lib/libhailort.so.4.23.0", "usr/bin/hailortcli", wheel}
    assert done.stdout == f"HailoRT 4.23.0 for {machine}, Python 3.12: hailort_4.23.0_{arch}.deb, {wheel}\n"


@needs_dpkg
@pytest.mark.parametrize(
    ("deb", "whl"),
    [("amd64", "x86_64"), ("amd64", ""), ("", "x86_64"), ("arm64", "aarch64"), ("arm64", ""), ("", "aarch64")],
)
def test_the_architecture_may_be_named(unpack: Unpack, deb: str, whl: str) -> None:
    """That a build hands both names on is seen where they do not go together (test_images.py)."""
    system = "arm64" if "arm64" in deb or "aarch64" in whl else "amd64"
    unpack.system(system)
    write_packages(unpack.folder, arch=system)
    assert unpack.run(deb=deb, whl=whl).returncode == 0


@needs_dpkg
def test_another_version(unpack: Unpack) -> None:
    write_packages(unpack.folder, "4.22.0")
    assert unpack.run("4.22.0").returncode == 0
    assert "usr/lib/libhailort.so.4.22.0" in content(unpack.out)


@needs_dpkg
def test_a_wheel_for_every_python_will_do(unpack: Unpack) -> None:
    write_deb(unpack.folder / DEB, "4.23.0", "amd64")
    write_wheel(unpack.folder / "hailort-4.23.0-py3-none-any.whl", "4.23.0")
    assert unpack.run().returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"version": "v4.23.0"}, ("HAILORT_VERSION=v4.23.0 is not a version of HailoRT", "HAILORT_VERSION=4.23.0")),
        ({"version": "5.1.0"}, ("a driver that does not drive a Hailo-8", "cat /sys/module/hailo_pci/version")),
        ({"version": "4.17.0"}, ("a driver that is too old; the worker needs 4.20 or newer", "driver of branch 4")),
        ({"deb": "armhf"}, ("DEB_ARCH=armhf is neither amd64 nor arm64", "Leave DEB_ARCH and WHL_ARCH out")),
        ({"deb": "amd64", "whl": "aarch64"}, ("do not go together", "Leave both out")),
        ({"deb": "arm64"}, ("this image is for amd64", "docker build --platform linux/arm64", "qemu-user-static")),
        ({"whl": "aarch64"}, ("this image is for amd64", "docker build --platform linux/arm64")),
    ],
)
def test_what_cannot_be_asked_for(unpack: Unpack, arguments: dict[str, str], words: tuple[str, ...]) -> None:
    unpack.refused(*words, **arguments)


def test_a_system_that_hailo_makes_nothing_for(unpack: Unpack) -> None:
    unpack.system("riscv64")
    unpack.refused("HailoRT is made for amd64 and arm64, and this image is for riscv64", "--platform linux/amd64")


def test_missing_files_are_named_exactly(unpack: Unpack) -> None:
    words = unpack.refused(
        f"missing: hailo-rt-4/{DEB} and hailo-rt-4/{WHEEL}\n", "Hailo Developer Zone", "AI Software Suite"
    )
    assert "There are" not in words
    unpack.system("arm64")
    unpack.refused("hailort_4.23.0_arm64.deb and hailo-rt-4/hailort-4.23.0-cp312-cp312-linux_aarch64.whl")


@needs_dpkg
@pytest.mark.parametrize(("gone", "left"), [(DEB, WHEEL), (WHEEL, DEB)])
def test_one_missing_file_is_named_alone(unpack: Unpack, gone: str, left: str) -> None:
    write_packages(unpack.folder)
    (unpack.folder / gone).unlink()
    unpack.refused(f"missing: hailo-rt-4/{gone}\n", f"There are: {left}.")


@needs_dpkg
def test_files_of_another_version_or_python_are_pointed_out(unpack: Unpack) -> None:
    write_packages(unpack.folder, "4.22.0", python="3.10")
    other = wheel_name("4.22.0", python="3.10")
    unpack.refused(f"missing: hailo-rt-4/{DEB} and", other, deb_name("4.22.0"), "--build-arg HAILORT_VERSION=")


@needs_dpkg
def test_what_is_no_package(unpack: Unpack) -> None:
    write_packages(unpack.folder)
    (unpack.folder / DEB).write_text("<html>Please log in</html>")
    unpack.refused(f"hailo-rt-4/{DEB} is no Debian package (26 bytes)", "Get it again: Hailo Developer Zone")


@needs_dpkg
def test_a_package_cut_short(unpack: Unpack) -> None:
    write_packages(unpack.folder)
    file = unpack.folder / DEB
    file.write_bytes(file.read_bytes()[:-200])
    unpack.refused(f"hailo-rt-4/{DEB} is damaged", "Get it again")


@needs_dpkg
def test_a_wheel_that_is_none(unpack: Unpack) -> None:
    write_packages(unpack.folder)
    (unpack.folder / WHEEL).write_text("<html>Please log in</html>")
    unpack.refused(f"hailo-rt-4/{WHEEL} is no Python wheel (26 bytes)", "Get it again")


@needs_dpkg
@pytest.mark.parametrize(
    ("version", "arch", "library", "words"),
    [
        ("4.22.0", "amd64", True, f"hailo-rt-4/{DEB} holds HailoRT 4.22.0."),
        ("4.23.0", "arm64", True, f"hailo-rt-4/{DEB} is made for arm64."),
        ("4.23.0", "amd64", False, f"hailo-rt-4/{DEB} holds no libhailort.so.4.23.0."),
    ],
)
def test_a_renamed_package(unpack: Unpack, version: str, arch: str, library: bool, words: str) -> None:
    write_packages(unpack.folder)
    write_deb(unpack.folder / DEB, version, arch, library=library)
    unpack.refused(words, "Hailo Developer Zone")


@needs_dpkg
def test_a_wheel_of_something_else(unpack: Unpack) -> None:
    write_packages(unpack.folder)
    shutil.move(unpack.folder / WHEEL, unpack.folder / "x.zip")
    shutil.make_archive(str(unpack.folder / "y"), "zip", SCRIPTS)
    shutil.move(unpack.folder / "y.zip", unpack.folder / WHEEL)
    unpack.refused(f"hailo-rt-4/{WHEEL} holds no hailo_platform.")


# ------------------------------------------------------------------ models


def bake(folder: Path, choice: str = "baked") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"{SCRIPTS}/bake_models.py", choice, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir(mode=0o700)
    for name in ("README.md", "scrfd_2.5g.hef", "ppocrv5_mobile_det.onnx", "ppocrv5_dict.txt"):
        (folder / name).touch(mode=0o600)
    return folder


def test_models_are_readable_for_every_user(models: Path) -> None:
    done = bake(models)
    assert done.returncode == 0
    assert "2 networks go into the image: scrfd_2.5g.hef ppocrv5_mobile_det.onnx" in done.stdout
    assert {path.stat().st_mode & 0o777 for path in models.iterdir()} == {0o644}
    assert models.stat().st_mode & 0o777 == 0o755


def test_what_has_no_published_checksum_is_recorded_and_a_later_one_refused(models: Path) -> None:
    vocabulary = models / "siglip2_tokenizer.json"
    vocabulary.write_text("{}")
    done = bake(models)
    assert done.returncode == 0
    assert "no checksum of siglip2_tokenizer.json is published: from now on it has to be SHA-256" in done.stderr
    record = models / "checksums.json"
    assert record.stat().st_mode & 0o777 == 0o644, "the worker's user reads it"
    before = record.read_text()
    vocabulary.write_text('{"other": 1}')
    done = bake(models)
    assert done.returncode == 0, "it costs its task, not the image"
    assert "siglip2_tokenizer.json is not the file that was first used under this name" in done.stderr
    assert "NOTE: the worker will refuse the files named above" in done.stderr
    assert record.read_text() == before


def test_no_models_when_told(models: Path) -> None:
    done = bake(models, "none")
    assert [path.name for path in models.iterdir()] == ["README.md"]
    assert "--volume /path/to/models:/app/models:ro" in done.stdout


def test_an_empty_folder_is_told(models: Path) -> None:
    for file in models.iterdir():
        file.unlink()
    done = bake(models)
    assert done.returncode == 0
    assert "NOTE: models/ holds no networks" in done.stdout


def test_a_word_that_is_neither(models: Path) -> None:
    done = bake(models, "all")
    assert (done.returncode, done.stderr) == (
        1,
        "MODELS=all is neither baked (the default) nor none. Correct that --build-arg.\n",
    )


def test_a_link_out_of_the_folder(models: Path) -> None:
    (models / "arcface_r50.hef").symlink_to("/mnt/nas/arcface_r50.hef")
    done = bake(models)
    assert done.returncode == 1
    assert "models/arcface_r50.hef is a link to a file outside of models/" in done.stderr
    assert "cp --remove-destination" in done.stderr


# ------------------------------------------------------------------- imports


PART = """
import sys
sys.path[:0] = sys.argv[2:]
import check_image
sys.exit(getattr(check_image, sys.argv[1])() or 0)
"""


def check(
    folder: Path, *words: str, hailort: str | None = None, only: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """check_image.py where HailoRT's package is `hailort`'s code, or not installed. `only`: this of its parts, without
    importing everything before."""
    if hailort is not None:
        (folder / "hailo_platform.py").write_text(hailort)
        (folder / "hailort-4.23.0.dist-info").mkdir()
        (folder / "hailort-4.23.0.dist-info" / "METADATA").write_text("Name: hailort\nVersion: 4.23.0\n")
    command = [sys.executable, f"{SCRIPTS}/check_image.py", *words]
    if only:
        command = [sys.executable, "-c", PART, only, str(SCRIPTS), str(PROJECT)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_all_packages_load(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert check(tmp_path, hailort=None).stdout == "all packages load; no HailoRT: this image is for the processor\n"
    done = check(tmp_path, hailort="", only="_hailort")
    assert (done.returncode, done.stdout) == (0, "all packages load, HailoRT 4.23.0 too\n")


def test_a_package_without_its_licence_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "bare-1.0.dist-info").mkdir()
    (tmp_path / "bare-1.0.dist-info" / "METADATA").write_text("Name: bare\nVersion: 1.0\n")
    done = check(tmp_path, only="_licences")
    assert done.returncode == 1
    assert re.search(r"no text of a licence is in the image for .*\bbare\b", done.stderr)


def test_a_hailort_that_does_not_load(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    words = "libhailort.so.4.23.0: cannot open shared object file: No such file or directory"
    done = check(tmp_path, hailort=f"raise ImportError({words!r})")
    assert done.returncode == 1
    assert "the library libhailort.so.4.23.0 is not installed.\n    Install the hailort package (.deb)" in done.stderr


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.mark.parametrize("target", ["linux/arm64", "linux/amd64"])
def test_onnxruntime_may_only_crash_on_an_emulated_processor(tmp_path: Path, target: str) -> None:
    (tmp_path / "onnxruntime.py").write_text(CRASH)
    done = check(tmp_path, only="_onnxruntime", BUILDPLATFORM="linux/amd64", TARGETPLATFORM=target)
    if target == "linux/arm64":
        assert done.returncode == 0
        assert "NOTE: onnxruntime ends with signal 11 on this emulated processor" in done.stdout
        assert "docker run --rm IMAGE python3 scripts/check_image.py" in done.stdout
    else:
        assert done.returncode == 1
        assert "onnxruntime does not load (exit status -11)" in done.stderr


def test_an_onnxruntime_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('GLIBC_2.99 not found')")
    done = check(tmp_path, only="_onnxruntime", BUILDPLATFORM="linux/amd64", TARGETPLATFORM="linux/arm64")
    assert done.returncode == 1
    assert "GLIBC_2.99 not found\n    Build from requirements.txt as it is" in done.stderr


# -------------------------------------------------------------- requirements


PINNED = re.compile(r"^([a-z0-9-]+)==(\S+) \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", re.MULTILINE)


def pins() -> dict[str, str]:
    return {name: version for name, version, _ in PINNED.findall((PROJECT / "requirements.txt").read_text())}


def test_every_package_is_pinned_with_hashes_and_no_address() -> None:
    text = (PROJECT / "requirements.txt").read_text()
    rest = PINNED.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []
    assert not re.search(r"://|--index|--find-links|--extra", text)
    assert len(pins()) > 20


def test_the_pins_are_what_pyproject_allows() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cpu"], *extras["hailo"]]
    pinned = pins()
    wrong = []
    for text in wanted:
        requirement = requirements.Requirement(text)
        version = pinned.get(requirement.name.lower(), "missing")
        if version == "missing" or not requirement.specifier.contains(version):
            wrong.append(f"{text}: {version}")
    assert not wrong, f"{wrong}: run scripts/lock_requirements.sh"
