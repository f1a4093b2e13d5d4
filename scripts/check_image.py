"""Imports everything the worker needs, HailoRT too where it is installed; run inside the build of an image.

What does not load here would not load on the user's host either, and there it is harder to find out why.
"""

import importlib
import importlib.metadata
import pkgutil
import sys
from pathlib import Path

PACKAGES = ("cv2", "numpy", "onnxruntime", "orjson", "PIL.Image", "sentencepiece", "tokenizers", "uvicorn", "xxhash")
"""Some of them are imported only when they are needed."""


def main() -> int:
    """Prints what was imported. Exit code 1 with the remedy when HailoRT's package does not load."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import ml_target
    from ml_target.hailo_package import explain_import

    ours = [module.name for module in pkgutil.walk_packages(ml_target.__path__, "ml_target.")]
    for name in (*PACKAGES, *ours):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    try:
        version = importlib.metadata.version("hailort")
    except importlib.metadata.PackageNotFoundError:
        print("all packages load; no HailoRT: this image is for the processor")
        return 0
    try:
        importlib.import_module("hailo_platform")
    except Exception as error:  # a mismatch shows as almost any of them
        wrong, remedy = explain_import(error)
        print(f"{wrong}.\n    {remedy}.\n    {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"all packages load, HailoRT {version} too")
    return 0


if __name__ == "__main__":
    sys.exit(main())
