"""Imports everything the worker needs, including HailoRT if it is installed; runs while an image is built.

--licences: and looks for the text of every package's licence, where only what the image holds is installed.

What does not load here would not load on the user's host either, where the cause is harder to find.
"""

import importlib
import importlib.metadata
import os
import pkgutil
import platform
import re
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "_libvips",
    "cv2",
    "numpy",
    "orjson",
    "PIL.Image",
    "sentencepiece",
    "simplejpeg",
    "tokenizers",
    "uvicorn",
    "xxhash",
)
"""Some of them are imported only when they are needed."""

WITHOUT_TEXT = {"flatbuffers": "Apache-2.0", "sentencepiece": "Apache-2.0", "tokenizers": "Apache-2.0"}
"""Packages whose wheels leave out the text of their licence; Ubuntu's base-files has it."""

COMMON = Path("/usr/share/common-licenses")
TEXT = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


def main() -> int:
    """Prints what was imported. Exit code 1, with the remedy, if a native package does not load."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import ml_target

    ours = [module.name for module in pkgutil.walk_packages(ml_target.__path__, "ml_target.")]
    for name in (*PACKAGES, *ours):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    problem = _onnxruntime() or _hailort() or (_licences() if "--licences" in sys.argv else "")
    if problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _onnxruntime() -> str:
    """What is wrong with it. In a process of its own: it looks at the processor, and an emulated one can kill it."""
    done = subprocess.run([sys.executable, "-c", "import onnxruntime"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    if done.returncode < 0 and emulated():
        print(
            f"NOTE: onnxruntime ends with signal {-done.returncode} on this emulated processor, so it has not been "
            "tried. On the machine itself: docker run --rm IMAGE python3 scripts/check_image.py"
        )
        return ""
    return (
        f"onnxruntime does not load (exit status {done.returncode}).\n    {done.stderr.strip()}\n"
        "    Build from requirements.txt as it is; if that is what you did, report it with these lines."
    )


def _hailort() -> str:
    """What is wrong with it, "" where it is not installed."""
    from ml_target.engines.hailo.package import explain_import

    try:
        version = importlib.metadata.version("hailort")
    except importlib.metadata.PackageNotFoundError:
        print("all packages load; no HailoRT: this image is for the processor")
        return ""
    try:
        importlib.import_module("hailo_platform")
    except Exception as error:  # a version mismatch can raise almost anything
        wrong, remedy = explain_import(error)
        return f"{wrong}.\n    {remedy}.\n    {type(error).__name__}: {error}"
    print(f"all packages load, HailoRT {version} too")
    return ""


def _licences() -> str:
    """Which packages would travel without the text of their licence; "" for none."""
    bare = []
    for package in importlib.metadata.distributions():
        name = package.metadata["Name"].lower()
        common = WITHOUT_TEXT.get(name)
        if name == "hailort" or any(TEXT.search(str(file)) for file in package.files or ()):
            continue
        if common is None or not (COMMON / common).is_file():
            bare.append(name)
    if not bare:
        return ""
    return (
        f"no text of a licence is in the image for {', '.join(sorted(bare))}.\n"
        f"    Add it to the image, or to WITHOUT_TEXT where {COMMON} has it."
    )


def emulated() -> bool:
    """True in a build for another kind of machine. BuildKit tells both kinds; QEMU shows the host's processor."""
    builder, target = os.environ.get("BUILDPLATFORM"), os.environ.get("TARGETPLATFORM")
    if builder and target:
        return builder != target
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return platform.machine() == "aarch64" and "CPU implementer" not in cpu


if __name__ == "__main__":
    sys.exit(main())
