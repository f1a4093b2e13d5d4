"""Which tests go to one process of pytest-xdist."""

from processes import CONTAINERS, ByFile
from project import PROJECT


def test_what_builds_images_is_one_share() -> None:
    split = ByFile.__new__(ByFile)._split_scope
    assert all((PROJECT / file).is_file() for file in CONTAINERS)
    assert {split(f"{file}::test_x[a::b]") for file in CONTAINERS} == {"containers"}
    assert split("tests/unit/test_a.py::test_x") != split("tests/unit/test_b.py::test_x")
