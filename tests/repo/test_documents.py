"""The documents tell what is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/analysis.md",
    "docs/hosts.md",
    "docs/languages.md",
    "docs/teachers.md",
    "labs/README.md",
    "labs/README.zh-CN.md",
    *(str(p.relative_to(ROOT)) for p in (ROOT / "labs").glob("*/README*.md")),
]


def tasks() -> dict[str, str]:
    """Every task of ./invoke, with its help."""
    invoke = str(Path(sys.executable).with_name("invoke"))
    listed = subprocess.run([invoke, "--list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"^  ([a-z][a-z-]*)", listed, re.MULTILINE)
    return {
        name: subprocess.run([invoke, "--help", name], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in names
    }


def test_commands_in_documents_exist() -> None:
    """Every ./invoke command in a document is a task, and every switch is one of its own."""
    known = tasks()
    assert "run-handshake-lab" in known
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for command in re.findall(r"^    \./invoke ([^#\n`]+)", text, re.MULTILINE):
            name, *words = shlex.split(command)
            if name.startswith("-"):
                continue  # one of invoke's own, such as --list
            assert name in known, f"{document}: ./invoke {command}"
            for switch in (word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)):
                assert switch in known[name], f"{document}: ./invoke {command}: no {switch}"


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md", "docs/architecture.md"])
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link names a file of the repository."""
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{document}: {target}"


def test_every_task_explains_itself() -> None:
    """Each task has a sentence, and a help for each switch."""
    for name, text in tasks().items():
        assert re.search(r"Docstring:\n  \S", text), name
        options = text.partition("Options:")[2]
        for line in re.findall(r"^  (-.*)$", options, re.MULTILINE):
            assert re.search(r"\s{2,}\S", line), f"{name}: {line}"
