"""The README and the pages of docs/ are true: settings, commands, links, sections, and the messages they explain."""

import ast
import importlib.util
import logging
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from readme import README, blocks_of, lines_of

from ml_target.__main__ import main
from ml_target.catalogue import networks
from ml_target.config import PROJECT, Settings, setting_names
from ml_target.engines.hailo.status import STATUSES, explain

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")), *sorted((PROJECT / ".github").glob("*.md"))]
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
MOST_WORDS = 1500
SYSTEM = {"cat", "cd", "cp", "curl", "git", "hailo", "hailomz", "haproxy", "mkdir", "sudo"}
"""Programs of the host. What they do there is not looked at."""

DOCUMENTED = """\
docker build -t hailo-base:v4.23.0 -f Dockerfile.hailo-base .
docker build -t immich-ml-hailo:v4.23.0 -f Dockerfile.immich-ml-hailo .
docker run -d --device=/dev/hailo0:/dev/hailo0 --group-add=0 --publish 3003:3003 -e CLIP_BACKEND=siglip \
--name immich-ml-hailo --restart unless-stopped immich-ml-hailo:v4.23.0
docker cp tests/test.sh immich-ml-hailo:/tmp/test.sh
docker cp tests/test.jpg immich-ml-hailo:/tmp/test.jpg
docker exec immich-ml-hailo bash /tmp/test.sh /tmp/test.jpg
docker exec immich-ml-hailo python3 -m ml_target.hef_inspect /app/models/scrfd_2.5g.hef
docker exec immich-ml-hailo python3 -m ml_target.inspect_models
docker logs -f immich-ml-hailo""".splitlines()
"""Lines that users were promised, to the letter."""

# ------------------------------------------------------------------- README


def test_the_readme_stays_short() -> None:
    assert len(README.split()) <= MOST_WORDS, "tables and details belong into docs/, with a link"


def test_every_page_is_reached_by_one_link_from_the_readme() -> None:
    linked = {target.partition("#")[0].rstrip("/") for target in re.findall(r"\]\(([^)]+)\)", README)}
    pages = {str(page.relative_to(PROJECT)) for page in (PROJECT / "docs").glob("*.md")}
    assert pages | {"docs/decisions", ".github/CONTRIBUTING.md"} <= linked


def test_pages_that_scripts_name_have_the_section() -> None:
    """`README, By hand` and its like, in what setup.sh prints."""
    scripts = [PROJECT / "setup.sh", *(PROJECT / "scripts").glob("*.sh"), *(PROJECT / "ml_target/setup").glob("*.py")]
    said = "\n".join(script.read_text(encoding="utf-8") for script in scripts)
    named = set(re.findall(r"(README|docs/[\w-]+\.md), ([A-Z][\w ]+)", said))
    assert ("README", "What switching costs") in named
    for page, title in named:
        assert f"\n## {title}\n" in TEXT["README.md" if page == "README" else Path(page).name], f"{page}, {title}"


def test_cited_sections_of_the_page_on_hailort_are_there() -> None:
    titles = set(re.findall(r"^##+ ([\d.]+\d|\d)", TEXT["hailort.md"], re.M))
    for folder in ("ml_target", "tests/sim", "tests/support"):
        for file in (PROJECT / folder).rglob("*.py"):
            for cited in re.findall(r"§(\d+(?:\.\d+)?)", file.read_text(encoding="utf-8")):
                assert cited in titles, f"{file}: docs/hailort.md has no §{cited}"


# ------------------------------------------------------------------ settings


def default_text(value: Any, attribute: str) -> str:
    """A default as the table shows it."""
    if attribute == "log_level":
        return f"`{logging.getLevelName(value).lower()}`"
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT)}/` here" if value.is_relative_to(PROJECT) else f"`{value}`"
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
    shown = TEXT["settings.md"].partition("<!-- settings -->\n")[2].partition("\n<!-- /settings -->")[0]
    expected = f"| Variable | Default | Meaning |\n|---|---|---|\n{settings_table()}"
    assert shown == expected, f"the table in docs/settings.md should be:\n{expected}"


# ------------------------------------------------------------------ commands


def mentioned(text: str) -> set[str]:
    """Commands of this project in running text."""
    return set(re.findall(r"`((?:[A-Z_]+=\S+ )*(?:\./|\.venv|scripts/|bash |docker )[^`\n]+)`", text))


def commands() -> Iterator[Any]:
    for name, text in TEXT.items():
        for line in sorted({*lines_of(text), *mentioned(text)}):
            for command in line.split(" && "):
                yield pytest.param(command, id=f"{name}: {command}")


def test_commands_are_found_at_all() -> None:
    assert {f"./setup.sh{rest}" for rest in ("", " --cpu", " serve", " test", " test --full")} <= {
        command for line in lines_of(README) for command in line.split(" && ")
    }
    assert "./setup.sh --dry-run" in mentioned(README)
    assert sum(len(lines_of(text)) for text in TEXT.values()) > 30


def test_all_that_has_to_be_replaced_in_the_readmes_commands_is_the_page_s_own_address() -> None:
    """No place to clone from is known before somebody publishes it; whoever reads the page is there."""
    in_capitals = re.findall(r"(?<![\w=$-])[A-Z]{3,}(?:[-_][A-Z]+)*(?![\w=-])", "\n".join(lines_of(README)))
    assert in_capitals == ["ADDRESS-OF-THIS-PAGE"]
    assert not re.search("<[a-z]|example|YOUR", "\n".join(lines_of(README)))
    before = README.partition("```bash\ngit clone ADDRESS-OF-THIS-PAGE ")[0]
    assert before.endswith("Replace `ADDRESS-OF-THIS-PAGE` with the address in your browser's address bar:\n\n")


def test_the_pages_commands_are_clean_shell(tmp_path: Path) -> None:
    """Every block, as bash and shellcheck read it."""
    files = []
    for page in PAGES:
        for number, (_, block) in enumerate(blocks_of(page.read_text(encoding="utf-8"))):
            file = tmp_path / f"{page.stem}-{number}.sh"
            file.write_text(f"#!/usr/bin/env bash\n{textwrap.dedent(block)}", encoding="utf-8")
            files.append(file)
    assert len(files) > 20
    # SC2164: who types sees whether cd went well.
    checker = str(Path(sys.executable).with_name("shellcheck"))
    done = subprocess.run([checker, "--exclude=SC2164", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_lines_stand_there_to_the_letter(line: str) -> None:
    assert any(line in lines_of(text) for text in TEXT.values())


@pytest.mark.parametrize("command", list(commands()))
def test_each_command_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in shlex.split(command.partition(" | ")[0]) if not re.match(r"[A-Z_0-9]+=", word)]
    if words[0] == "./setup.sh":
        usage = (PROJECT / "setup.sh").read_text(encoding="utf-8").partition("END'")[2].partition("END\n")[0]
        for word in words[1:]:
            assert word in usage, f"setup.sh's usage does not know {word}"
    elif words[0] == ".venv/bin/python" and words[1] != "-m":
        assert (PROJECT / words[1]).is_file(), f"{words[1]} is not there"
    elif words[0] == ".venv/bin/python":
        check_module(words[2:], capsys)
    elif words[0] == "docker":
        check_docker(words[1:], capsys)
    elif words[0] not in SYSTEM:
        script = PROJECT / (words[1] if words[0] == "bash" else words[0])
        assert script.is_file(), f"{script} is not there"
        assert words[0] == "bash" or os.access(script, os.X_OK), f"{script} is not executable"
        if script.name == "models.sh":
            check_module(["ml_target", "models", *words[1:]], capsys)


def check_docker(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Files that it reads are there, and modules that it runs."""
    if "-f" in words and words[0] in ("build", "compose"):
        file = words[words.index("-f") + 1]
        assert any((PROJECT / folder / file).is_file() for folder in ("", "docs/examples")), f"{file} is not there"
    if words[0] == "build":
        dockerfile = (PROJECT / words[words.index("-f") + 1]).read_text(encoding="utf-8")
        for word in words:
            if re.match("[A-Z_]+=", word):
                assert f"ARG {word.partition('=')[0]}" in dockerfile, f"the Dockerfile has no {word}"
    if words[0] == "cp":
        assert (PROJECT / words[1]).is_file(), f"{words[1]} is not there"
    if words[0] == "exec" and "-m" in words:
        check_module(words[words.index("-m") + 1 :], capsys)


def check_module(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The module is there, and its command knows the options."""
    module, *rest = words
    assert importlib.util.find_spec(module), f"there is no module {module}"
    if module == "ml_target" and rest:
        with pytest.raises(SystemExit, match="0"):
            main([rest[0], "--help"])
        options = capsys.readouterr().out
        for option in rest[1:]:
            assert not re.match("--|[a-z]+$", option) or option in options, f"{rest[0]} does not know {option}"


def test_the_worked_example_of_a_clip_backend_is_one() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT["CONTRIBUTING.md"], re.S)
    known = {**vars(networks), "files": MagicMock()}
    exec(example, known)
    assert list(known["CLIP_BACKENDS"]) == [*networks.CLIP_BACKENDS, "halves"]
    assert known["CLIP_BACKENDS"]["halves"].visual.input.height == 64


# --------------------------------------------------------------------- links


def anchors(text: str) -> set[str]:
    titles = re.findall("^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title).strip().replace(" ", "-").lower() for title in titles}


@pytest.mark.parametrize(
    "page", [*(str(page.relative_to(PROJECT)) for page in PAGES), "tests/README.md", "models/README.md"]
)
def test_links_and_files_exist(page: str) -> None:
    path = PROJECT / page
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        other = path.parent / file if file else path
        assert other.exists(), f"{page}: {target} does not exist"
        if anchor:
            assert anchor in anchors(other.read_text(encoding="utf-8")), f"{page}: no heading for {target}"
    for name in re.findall(r"`((?:ml_target|tests|scripts|docs)/[\w/.]+)`", text):
        assert (PROJECT / name).exists(), f"{page}: {name} does not exist"


# ------------------------------------------------------------------ messages


def quoted_messages() -> list[str]:
    """What the first columns of the troubleshooting quote, but for Immich's own words; and those of the templates."""
    tables = TEXT["troubleshooting.md"].partition("\n## ")[0]
    tables += TEXT["templates.md"].partition("| The log says |")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in tables.splitlines() if line.startswith("|")]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def literals(source: str) -> Iterator[str]:
    """The strings of a Python file; what is filled in is a `…`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[sdg]", "…", node.value)


@cache
def known_messages() -> tuple[str, ...]:
    """Everything that worker, doctor, setup and builds can say."""
    found = [explain(status) for status in STATUSES]
    for file in (*(PROJECT / "ml_target").rglob("*.py"), *(PROJECT / "scripts").glob("*.py")):
        found += literals(file.read_text(encoding="utf-8"))
    for file in (PROJECT / "setup.sh", *(PROJECT / "scripts").glob("*.sh")):
        text = re.sub(r"\$\{[^}]*\}|\$\([^()]*\)|\$\w+", "…", file.read_text(encoding="utf-8"))
        found += text.splitlines()
    return tuple(found)


def occurs(message: str) -> bool:
    """A `…` stands for anything in the message, and for something filled in in the source."""
    parts = [re.escape(part) for part in message.split("…")]
    pattern = re.compile(".*?".join(parts), re.DOTALL)
    return any(pattern.search(known) for known in known_messages())


def test_messages_are_quoted_at_all() -> None:
    assert len(quoted_messages()) > 20
    assert not occurs("this is said by nobody")
    assert not occurs("task … is ON:")


@pytest.mark.parametrize("message", quoted_messages())
def test_each_quoted_message_is_really_said(message: str) -> None:
    assert occurs(message), "nothing in the sources says this"
