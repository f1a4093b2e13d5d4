"""`models fetch` as a process: stopped in the middle of a download it goes on from there; two of them take turns."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import file_server
import pytest
from file_server import FileServer
from project import PROJECT
from store_files import RNG

from ml_target.catalogue.files import SIGLIP_VOCABULARY

CONTENT = RNG.bytes(3_000_000)
PART = f"{SIGLIP_VOCABULARY.name}.part"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server.serving() as state:
        yield state


def fetching(folder: Path, server: FileServer) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ml_target", "models", "fetch", SIGLIP_VOCABULARY.name],
        env={
            **os.environ,
            "MODELS_DIR": str(folder),
            "MODELS_MIRROR": server.url,
            "HF_ENDPOINT": server.url,
            "PYTHONPATH": str(PROJECT),
        },
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_download_is_gone_on_with(tmp_path: Path, server: FileServer, sent: signal.Signals) -> None:
    served = server.add(f"/{SIGLIP_VOCABULARY.name}", CONTENT, holds=[1_000_000])
    with fetching(tmp_path, server) as process:
        assert served.held.wait(60), "the server has sent the first million bytes"
        while not (tmp_path / PART).exists() or (tmp_path / PART).stat().st_size < 900_000:  # the rest may be buffered
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(sent)
        said = process.communicate(timeout=60)[1]
        served.go_on.set()
    assert process.returncode == 130
    assert "stopped. What has come is kept: run this again, and it goes on from there" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fetching", PART, f"{PART}.json"]
    kept = (tmp_path / PART).stat().st_size
    assert 900_000 <= kept <= 1_000_000
    with fetching(tmp_path, server) as process:
        said = process.communicate(timeout=60)[1]
    assert "what came from there is refused" in said, "it came whole, and is no vocabulary"
    assert (f"/{SIGLIP_VOCABULARY.name}", f"bytes={kept}-") in server.asked
    assert "HTTP Request" not in said
