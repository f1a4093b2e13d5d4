"""Why HailoRT's Python package cannot be imported, in words."""

import pytest

from ml_target.engines.hailo.package import explain_import


@pytest.mark.parametrize(
    ("error", "detail", "remedy"),
    [
        (
            ModuleNotFoundError("x", name="hailo_platform"),
            "is not installed here",
            "developer zone: pip install --no-d",
        ),
        (
            ImportError("_pyhailort version (4.22.0) does not match pyhailort version (4.23.0)"),
            "two versions of the Python package are mixed (4.22.0 and 4.23.0)",
            "pip uninstall hailort",
        ),
        (
            RuntimeError("libhailort version (4.21.0) does not match pyhailort version (4.23.0)"),
            "the library is version 4.21.0, the Python package 4.23.0",
            "Install both of the driver's version",
        ),
        (
            ImportError("libhailort.so.4.23.0: cannot open shared object file: No such file or directory"),
            "the library libhailort.so.4.23.0 is not installed",
            "dpkg-deb -x FILE.deb /",
        ),
        (
            OSError("libusb-1.0.so.0: cannot open shared object file: No such file or directory"),
            "it needs the library libusb-1.0.so.0, which is not installed",
            "the system's package that holds it",
        ),
        (ImportError("/lib/libc.so.6: version `GLIBC_2.38' not found"), "C library is older", "a newer system"),
        (ImportError("libx.so: invalid ELF header"), "another kind of processor", "Install the wheel and the library"),
        (ImportError("numpy.core.multiarray failed to import"), "this numpy", '"numpy<2"'),
        (
            ModuleNotFoundError("No module named 'hailo_platform.pyhailort._pyhailort'"),
            "its extension module is missing: it was built for another Python",
            "Install the wheel for this Python",
        ),
        (ModuleNotFoundError("No module named 'netaddr'"), "it needs the package netaddr", "pip install netaddr"),
        (OSError("strange"), "fails: OSError: strange", "install the same release of all"),
    ],
)
def test_every_failing_import_is_explained(error: Exception, detail: str, remedy: str) -> None:
    found = explain_import(error)
    assert detail in found[0]
    assert remedy in found[1]
