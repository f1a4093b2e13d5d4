"""A HEF that is newer than the HailoRT here: which version it needs, in words."""

from pathlib import Path

import hef_builder as build
import pytest

from ml_target.catalogue.files import ZOO_HAILORT
from ml_target.catalogue.networks import ARCFACE_MOBILEFACENET
from ml_target.engines.hailo.fit import check_fit
from ml_target.engines.hailo.made_for import MADE_FOR, newer
from ml_target.engines.hailo.status import STATUSES
from ml_target.engines.hailo.versions import OF_VERSIONS, both
from ml_target.hef.header import HefHeader


def header(compiler: str, container: int = 2) -> HefHeader:
    return HefHeader(container, 1, compiler, 44, 100, b"")


@pytest.mark.parametrize(
    ("compiler", "container", "library", "needed"),
    [
        ("3.33.0", 2, "4.22.0", "4.23"),
        ("3.33.1", 3, "4.20.1", "4.23"),
        ("3.31.0", 3, "4.20.0", "4.21"),
        ("", 3, "4.20.0", "4.21"),
        ("3.29.0", 3, "4.20.0", "4.21"),
        ("3.33.0", 2, "4.23.0", ""),
        ("3.31.0", 2, "4.24.0", ""),
        ("3.29.0", 1, "4.20.0", ""),
        ("3.33.0", 2, "", ""),
        ("of no version", 2, "4.20.0", ""),
    ],
)
def test_the_version_that_a_file_needs(compiler: str, container: int, library: str, needed: str) -> None:
    found = newer(header(compiler, container), library)
    assert bool(found) == bool(needed)
    if found:
        assert f"for HailoRT {needed}, and HailoRT here is {library}" in found.reason
        assert (f"by the Dataflow Compiler {compiler} " in found.reason) == bool(compiler)
        assert f"Install driver and HailoRT {needed}, all of one version" in found.remedy
        assert f"Dataflow Compiler 3.{int(library.split('.')[1]) + 10} has made" in found.remedy


def test_the_catalogue_s_files_are_for_the_newest() -> None:
    assert list(MADE_FOR.values())[-1] == ZOO_HAILORT


def test_a_file_that_may_be_read_all_the_same_has_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "network.hef"
    file.write_bytes(build.mobilefacenet())
    assert check_fit(file, ARCFACE_MOBILEFACENET, library="4.23.0").warnings == ()
    (warning,) = check_fit(file, ARCFACE_MOBILEFACENET, library="4.21.0").warnings
    assert warning == (
        f"{file}: it was compiled by the Dataflow Compiler 3.33.0 for HailoRT 4.23, and HailoRT here is 4.21.0, "
        "which may refuse it. If so: Install driver and HailoRT 4.23, all of one version, or put a build of it there "
        "that the Dataflow Compiler 3.31 has made"
    )


def test_statuses_of_parts_that_do_not_fit_each_other_are_told_with_both_versions() -> None:
    assert both("4.23.0", "") == "Here HailoRT is 4.23.0, the driver of unknown version"
    assert {STATUSES[status][2] for status in OF_VERSIONS} == {STATUSES[76][2]}
    assert {number for number, known in STATUSES.items() if known[2] == STATUSES[76][2]} == set(OF_VERSIONS)
