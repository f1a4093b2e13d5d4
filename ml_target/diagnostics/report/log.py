"""The worker's last log lines in the report: from a file, or from the memory of a running worker."""

import re
import sys
from pathlib import Path

from ml_target.diagnostics.report.section import Section
from ml_target.log.ring import kept_logs

TITLE = "Log of the worker"
MOST = 2 << 20
"""How many bytes of a log are read, from its end."""

HOW = (
    "No worker of this user runs here, and no log was given. Docker keeps it, also of a worker that does not start:\n"
    "  docker logs --tail 300 immich-ml-hailo > log.txt 2>&1\n"
    "A unit of systemd: journalctl -u immich-ml-hailo -n 300 > log.txt; ./setup.sh serve: the terminal.\n"
    "Then this report again, with --log log.txt (in a container: --log - < log.txt, and docker's option -i)."
)
_LEVEL = re.compile(r'^(?:\S+ \S+ (?:ERROR|CRITICAL) |\{.*"level": "(?:ERROR|CRITICAL)", )(.*)$')


def log_section(given: str | None, port: int) -> Section:
    """`given`: a file, "-" for standard input, None for the log that the worker here keeps."""
    if given is not None:
        text, source = _given(given), "as it was given"
    else:
        kept = [(pid, text) for at, pid, text in kept_logs() if at == port] or [
            (pid, text) for _, pid, text in kept_logs()
        ]
        if not kept:
            return Section(TITLE, HOW)
        pid, text = kept[-1]
        source = f"kept by the worker, process {pid}"
    section = Section(TITLE, f"({source})\n{text.strip()}", most=12_000, keep_end=True)
    errors = [found.group(1) for line in text.splitlines() if (found := _LEVEL.match(line))]
    if errors:
        count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
        section.wrong.append(f"the log has {count}, the last: {errors[-1]}")
    return section


def _given(name: str) -> str:
    if name == "-":
        data = b""
        while chunk := sys.stdin.buffer.read(1 << 16):
            data = (data + chunk)[-MOST:]
        return data.decode("utf-8", "replace")
    with Path(name).open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - MOST))
        return file.read(MOST).decode("utf-8", "replace")
