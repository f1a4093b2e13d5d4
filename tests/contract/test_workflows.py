"""What GitHub reads, against the published schemas that check-jsonschema carries; workflows cannot run here."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import PROJECT

GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
CONFIG = GITHUB / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted({*CONFIG.parent.glob("*.yml")} - {CONFIG})
SETUP = "".join(
    file.read_text(encoding="utf-8") for file in (PROJECT / "setup.sh", *(PROJECT / "scripts").glob("setup_*.sh"))
)


def check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", f"vendor.{schema}"]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60, check=False)


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def steps_of(file: Path) -> list[dict[str, Any]]:
    return [step for job in read(file)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [CONFIG]),
        ("dependabot", [GITHUB / "dependabot.yml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_they_have_the_form_of_the_published_schema(schema: str, files: list[Path]) -> None:
    assert files
    done = check(schema, *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_finds_faults(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text(encoding="utf-8").replace("runs-on:", "runs_on:"), encoding="utf-8")
    assert check("github-workflows", wrong).returncode == 1


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_read_alone_and_end(file: Path) -> None:
    assert read(file)["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in read(file)["jobs"].values())
    used = [step["uses"] for step in steps_of(file) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"(actions|docker)/[a-z-]+@v\d+", action) for action in used), "pinned by major version"


def test_the_published_image_is_the_one_that_is_tested() -> None:
    """Without models and HailoRT, whose licences keep them out; for both architectures, with provenance and SBOM."""
    (publish,) = (each for each in WORKFLOWS if each.name == "publish.yml")
    (build,) = (step["with"] for step in steps_of(publish) if step.get("uses", "").startswith("docker/build-push"))
    page = (PROJECT / "docs" / "templates.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("docker build -t immich-ml-hailo:any "))
    assert sorted(re.findall(r"--build-arg (\S+)", line)) == sorted(build["build-args"].split())
    assert build["file"] == line.partition(" -f ")[2].split()[0]
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert (build["provenance"], build["sbom"], build["push"]) == ("mode=max", True, True)


def test_there_is_no_latest() -> None:
    """A library's vectors must not change because a host was restarted; the action makes one unless told."""
    page = (PROJECT / "docs" / "releasing.md").read_text(encoding="utf-8")
    assert "there is no `latest`" in " ".join(page.split())
    publish = GITHUB / "workflows" / "publish.yml"
    (names,) = (step["with"] for step in steps_of(publish) if step.get("uses", "").startswith("docker/metadata"))
    assert names["flavor"] == "latest=false"
    registry = "${{ vars.REGISTRY }}"  # where it is not set, the login would be to another one
    assert [step["env"] for step in steps_of(publish) if "env" in step] == [{"REGISTRY": registry}]
    assert names["tags"].split() == ["type=semver,pattern={{version}}", "type=semver,pattern={{major}}.{{minor}}"]


def test_the_fast_tests_run_with_every_python_that_is_supported() -> None:
    (least,), (most,) = (re.findall(rf"\b{name}=(\d+)", SETUP) for name in ("python_min", "python_max"))
    supported = [f"3.{minor}" for minor in range(int(least), int(most) + 1)]
    file = GITHUB / "workflows" / "test.yml"
    assert read(file)["jobs"]["test"]["strategy"]["matrix"]["python"] == supported
    assert [step["run"] for step in steps_of(file) if "run" in step] == ["./setup.sh test"]
    requires = (PROJECT / "pyproject.toml").read_text(encoding="utf-8").partition('requires-python = ">=')[2]
    assert requires.startswith(supported[0])


def test_the_full_tests_are_everything() -> None:
    (command,) = (step["run"] for step in steps_of(GITHUB / "workflows" / "full.yml") if "run" in step)
    assert command.endswith("./setup.sh test --full")


def test_issues_and_pull_requests_ask_for_the_report() -> None:
    for file in (*FORMS, GITHUB / "PULL_REQUEST_TEMPLATE.md"):
        assert "`python3 -m ml_target report`" in file.read_text(encoding="utf-8"), file.name


def test_hooks_are_checks_of_the_projects_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `language: system` nothing is downloaded, and the versions are those of `./setup.sh test`."""
    (repository,) = read(PROJECT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    monkeypatch.syspath_prepend(PROJECT / "scripts")
    commands = importlib.import_module("run_checks").checks().values()
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        program = hook["entry"].removeprefix(".venv/bin/").split()[0]
        assert any(program in command or f"bin/{program}" in command[0] for command in commands), program
