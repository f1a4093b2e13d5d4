"""Prepares the models that go into the image; Dockerfile.immich-ml-hailo runs it inside the build.

bake_models.py baked|none FOLDER

baked  keeps what is in FOLDER, readable for every user; what no checksum is published for is recorded
none   leaves FOLDER empty: the models are mounted at /app/models
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
MOUNT = "--volume /path/to/models:/app/models:ro"


def main(choice: str, folder: Path) -> int:
    """Exit status 1 for a choice that is none, and for a file that cannot get into an image."""
    if choice == "none":
        return empty(folder)
    if choice != "baked":
        return complain(f"MODELS={choice} is neither baked (the default) nor none. Correct that --build-arg.")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.exists():
            name = path.relative_to(folder)
            complain(f"models/{name} is a link to a file outside of models/, which cannot get into an image.")
            link = f'"$(readlink -f models/{name})"'
            return complain(f"Put the file itself there: cp --remove-destination {link} models/")
    # So that the worker refuses a file that is another one later on.
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "MODELS_DIR": str(folder.resolve())}
    if subprocess.run([sys.executable, "-m", "ml_target", "models", "pin"], env=environment).returncode:
        complain("NOTE: the worker will refuse the files named above, and their tasks will be off.")
        complain(
            "Fetch them again on the host (scripts/models.sh fetch; for a card with --engine hailo), then build again."
        )
    open_up(folder)
    networks = sorted(path.name for path in folder.glob("*.hef")) + sorted(path.name for path in folder.glob("*.onnx"))
    if networks:
        print(f"models/: {len(networks)} networks go into the image: {' '.join(networks)}")
    else:
        print("NOTE: models/ holds no networks. The image is built all the same, and every task in it will be off.")
        print(f"Fetch them (./setup.sh does) and build again, or run it with {MOUNT}")
    return 0


def complain(words: str) -> int:
    print(words, file=sys.stderr)
    return 1


def empty(folder: Path) -> int:
    """Deletes all but the README."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "README.md":
            path.unlink()
    print(f"MODELS=none: the image holds no models. Run it with {MOUNT}")
    return 0


def open_up(folder: Path) -> None:
    """As `chmod -R u=rwX,go=rX`."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o111 else 0o644)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
