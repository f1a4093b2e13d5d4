"""The README holds what is true: every setting with its default, commands and links that exist."""

import importlib.util
import logging
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ml_target.__main__ import main
from ml_target.config import PROJECT, Settings, setting_names

README = (PROJECT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.partition(" #")[0].strip() for block in COMMANDS for line in block.splitlines()]
MENTIONED = sorted({*LINES, *re.findall(r"`((?:[A-Z_]+=\S+ )*(?:\./|\.venv|scripts/|bash )[^`\n]+)`", README)})


def default_text(value: Any, attribute: str) -> str:
    """A default as the table shows it."""
    if attribute == "log_level":
        return f"`{logging.getLevelName(value).lower()}`"
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT)}/` here"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`" if value not in ("", ()) else "–"


def settings_table() -> str:
    rows = []
    for item in fields(Settings):
        names = " or ".join(f"`{name}`" for name in setting_names(item.name))
        rows.append(f"| {names} | {default_text(item.default, item.name)} | {item.metadata['help']} |")
    return "\n".join(rows)


def test_the_settings_table_is_that_of_the_code() -> None:
    shown = README.partition("<!-- settings -->\n")[2].partition("\n<!-- /settings -->")[0]
    expected = f"| Variable | Default | Meaning |\n|---|---|---|\n{settings_table()}"
    assert shown == expected, f"the README's table should be:\n{expected}"


def test_commands_are_found_at_all() -> None:
    assert {"./setup.sh serve", "./setup.sh test"} <= set(LINES)
    assert "./setup.sh test --full" in MENTIONED


@pytest.mark.parametrize("line", MENTIONED)
def test_each_command_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in line.split() if not re.match(r"[A-Z_]+=", word)]
    if words[0] == "./setup.sh":
        usage = (PROJECT / "setup.sh").read_text(encoding="utf-8").partition("END'")[2].partition("END\n")[0]
        for word in words[1:3]:
            assert word in usage, f"setup.sh's usage does not know {word}"
    elif words[0] == ".venv/bin/python":
        module, *rest = words[2:]
        assert importlib.util.find_spec(module), f"there is no module {module}"
        if module == "ml_target" and rest:
            with pytest.raises(SystemExit, match="0"):
                main([rest[0], "--help"])
            options = capsys.readouterr().out
            for option in rest[1:]:
                assert not re.match("--|[a-z]+$", option) or option in options, f"{rest[0]} does not know {option}"
    else:
        script = PROJECT / (words[1] if words[0] == "bash" else words[0])
        assert os.access(script, os.X_OK), f"{script} is not there, or not executable"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/README.md"])
def test_links_and_files_exist(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().replace(" ", "-").lower() for title in re.findall("^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, f"{page}: no heading for {target}"
        elif "://" not in target:
            assert (PROJECT / target).exists(), f"{page}: {target} does not exist"
    for name in re.findall(r"`((?:ml_target|tests|scripts)/[\w/.]+)`", text):
        assert (PROJECT / name).exists(), f"{page}: {name} does not exist"
