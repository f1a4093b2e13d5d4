"""Why HailoRT's Python package cannot be imported, in words, and what to do; never imports it.

The texts are those of HailoRT 4.20 to 4.23 and of the dynamic loader.
"""

import platform
import re
import sys

from ml_target.engines.hailo.status import MATCH
from ml_target.errors import WorkerError
from ml_target.hailort.packages import absent
from ml_target.hailort.place import ADVICE
from ml_target.system.cards import driver_version

PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
WHEEL = f"hailort-VERSION-{PYTHON}-{PYTHON}-linux_{platform.machine()}.whl"

# What an import of HailoRT's package says -> what it means, what to do.
IMPORT_FAILURES: tuple[tuple[str, str, str], ...] = (
    (
        r"_pyhailort version \((?P<a>.*?)\) does not match pyhailort version \((?P<b>.*?)\)",
        "two versions of the Python package are mixed ({a} and {b})",
        f"Remove it and install one wheel: pip uninstall hailort, pip install --no-deps {WHEEL}",
    ),
    (
        r"libhailort version \((?P<a>.*?)\) does not match pyhailort version \((?P<b>.*?)\)",
        "the library is version {a}, the Python package {b}",
        "Install both of the driver's version",
    ),
    (
        r"(?P<a>libhailort\.so[.\d]*): cannot open shared object file",
        "the library {a} is not installed",
        "Install the hailort package (.deb) of this version; in an image: dpkg-deb -x FILE.deb /",
    ),
    (
        r"(?P<a>lib[\w.+-]+): cannot open shared object file",
        "it needs the library {a}, which is not installed",
        "Install the system's package that holds it; where this is the project's image, report it with this line",
    ),
    (
        r"GLIBC(XX)?_[\d.]+' not found",
        "this system's C library is older than the one HailoRT was built for",
        "Use a newer system or image, or an older HailoRT with the same driver",
    ),
    (
        r"invalid ELF header|wrong ELF class",
        "it was built for another kind of processor",
        f"Install the wheel and the library for {platform.machine()}",
    ),
    (
        r"failed to map segment",
        "its library lies where nothing may be executed (a noexec mount)",
        ADVICE,
    ),
    (
        r"numpy|_ARRAY_API|multiarray",
        "it does not work with this numpy",
        'HailoRT 4 needs numpy 1: pip install "numpy<2" "opencv-python-headless<4.12"',
    ),
    (
        r"_pyhailort",
        "its extension module is missing: it was built for another Python or processor",
        f"Install the wheel for this Python: pip install --no-deps {WHEEL}",
    ),
    (r"No module named '(?P<a>[^']+)'", "it needs the package {a}", "pip install {a}"),
)


def explain_import(error: BaseException) -> tuple[str, str]:
    """(what is wrong, remedy) for an exception that importing HailoRT's Python package raised."""
    if isinstance(error, WorkerError):
        return error.reason, error.remedy
    if isinstance(error, ModuleNotFoundError) and error.name == "hailo_platform":
        return "HailoRT's Python package is not installed here", absent(driver_version())
    text = str(error)
    for pattern, meaning, remedy in IMPORT_FAILURES:
        if found := re.search(pattern, text):
            words = found.groupdict()
            return f"HailoRT's Python package fails: {meaning.format(**words)}", remedy.format(**words)
    return f"HailoRT's Python package fails: {type(error).__name__}: {text}", MATCH
