"""The report's plain data: as text for people, as JSON for programs. It needs nothing that selfcheck does."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

SCHEMA = 1
WIDTH, INDENT = 118, 13


def as_text(content: Mapping[str, Any]) -> str:
    """Header, files, a line for each check with its remedy, the verdict. `content`: of a `Report`."""
    header, files, checks = content["header"], content["files"], content["checks"]
    width = max(len(name) for name in (*header, "files"))
    lines = [f"{name.ljust(width)}  {words}" for name, words in header.items()]
    lines += [f"{'files' if n == 0 else '':{width}}  {_file(file)}" for n, file in enumerate(files)]
    lines.append("")
    name_width = max((len(check["name"]) for check in checks), default=0)
    said: set[str] = set()
    for check in checks:
        lines += _check(check, name_width)
        if remedy := check["remedy"]:  # in one line, so that a command in it can be copied
            lines.append(f"{'':{INDENT}}-> {'as above' if remedy in said else remedy}")
        said.add(check["remedy"])
    return _tidy("\n".join([*lines, "", content["summary"]]))


def as_json(content: Mapping[str, Any]) -> str:
    """The same for programs."""
    return _tidy(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def from_json(text: str) -> dict[str, Any]:
    """What `as_json` wrote; other output may stand around it. Raises ValueError for anything else."""
    content, _ = json.JSONDecoder().raw_decode(text[text.rfind("\n{\n") + 1 :])
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError("not a report of the selfcheck")
    return content


def _check(check: Mapping[str, Any], name_width: int) -> Iterator[str]:
    told = "; ".join([*filter(None, [check["reason"]]), *(figure["words"] for figure in check["figures"])])
    start = f"{check['verdict'].ljust(INDENT)}{check['name'].ljust(name_width)}  {_times(**check['ms']).ljust(21)}  "
    if len(start) + len(told) <= WIDTH:
        yield f"{start}{told}".rstrip()
    else:
        yield start.rstrip()
        lines = wrap(told, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False)
        yield from (f"{'':{INDENT}}{line}" for line in lines)


def _times(served: float | None, cpu: float | None) -> str:
    if served is None:
        return ""
    return f"{served:.1f} ms" if cpu is None else f"{served:.1f} ms, CPU {cpu:.1f}"


def _file(file: Mapping[str, str]) -> str:
    note = f" ({file['note']})" if file["note"] else ""
    return f"{file['sha256']}  {file['engine']:5}  {file['file']}{note}"


def _tidy(text: str) -> str:
    """Replaces a home folder that contains the user's name: /home/NAME, but not /root or a container's /app."""
    home = Path.home()
    return text.replace(str(home), "~") if len(home.parts) > 2 else text
