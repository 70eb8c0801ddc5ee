"""The Gradescope autograder: the zip, and its run_autograder with a stub for the grader."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.grading.gradescope_bundle import RUN, SETUP, gradescope_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(gradescope_bundle("handshake", ROOT)))


def autograder(tmp_path: Path, grader: str) -> Path:
    """An image as Gradescope makes it, but with *grader* for harness.grading.one; the name has a space."""
    root = tmp_path / "auto grader"
    entry = root / "source" / "harness" / "grading" / "one.py"
    entry.parent.mkdir(parents=True)
    for package in (entry.parent, entry.parents[1]):
        (package / "__init__.py").touch()
    entry.write_text(f"import json, os, signal, sys, time\nlab, submission, results = sys.argv[1:]\n{grader}\n")
    python = root / "source" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    (root / "submission").mkdir()
    script = root / "run_autograder"
    script.write_text(RUN.replace("@LAB@", "handshake"))
    script.chmod(0o755)
    return root


def run(root: Path, seconds: str = "20") -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    done = subprocess.run(
        [root / "run_autograder"],
        cwd=root,
        env={"PATH": os.environ["PATH"], "AUTOGRADER": str(root), "AUTOGRADER_SECONDS": seconds},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert sorted(path.name for path in (root / "results").iterdir()) == ["results.json"]
    return json.loads((root / "results" / "results.json").read_text(encoding="utf-8")), done


def test_the_scripts_stand_at_the_root_and_can_be_run(bundle: zipfile.ZipFile) -> None:
    """Only they; every file is a plain one."""
    modes = {entry.filename: entry.external_attr >> 16 for entry in bundle.infolist()}
    assert {name for name, mode in modes.items() if mode == 0o100755} == {"setup.sh", "run_autograder"}
    assert set(modes.values()) == {0o100755, 0o100644}
    assert bundle.read("run_autograder").startswith(b"#!/usr/bin/env bash\n")
    assert b"@LAB@" not in bundle.read("run_autograder")


def test_holds_what_grading_needs_and_no_more(bundle: zipfile.ZipFile) -> None:
    """All of the harness, this lab, the list of libraries; no caches, no runs, no tests of the project."""
    names = bundle.namelist()
    assert {"labs/__init__.py", "labs/handshake/test_handshake.py", "requirements.lock"} <= set(names)
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "harness").rglob("*.py")}
    assert sources <= set(names)
    assert {name.split("/")[0] for name in names} == {
        *("setup.sh", "run_autograder", "harness", "labs", "requirements.lock", "pyproject.toml", "LICENSE")
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc") or name.startswith("/")]
    assert bundle.read("requirements.lock") == (ROOT / "requirements.lock").read_bytes()


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    """Names in order, one time for all; nothing hidden, and no link out of the project."""
    for name in ("harness/a.py", "harness/b/c.py", "labs/tiny/test_tiny.py", "labs/other/test_other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("requirements.lock", "pyproject.toml", "LICENSE"):
        (tmp_path / name).write_text(name)
    one = gradescope_bundle("tiny", tmp_path)
    (tmp_path / "harness" / ".secret").write_text("x")
    (tmp_path / "harness" / "link.py").symlink_to("/etc/passwd")
    (tmp_path / "harness" / "__pycache__").mkdir()
    (tmp_path / "harness" / "__pycache__" / "a.pyc").write_text("x")
    os.utime(tmp_path / "harness" / "a.py", (1, 1))
    assert gradescope_bundle("tiny", tmp_path) == one
    entries = zipfile.ZipFile(io.BytesIO(one)).infolist()
    assert [entry.filename for entry in entries] == [
        *("LICENSE", "harness/a.py", "harness/b/c.py", "labs/tiny/test_tiny.py", "pyproject.toml", "requirements.lock"),
        *("run_autograder", "setup.sh"),
    ]
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("lab", ["nothing", "", "..", "../labs/handshake", "handshake'; rm -rf /", "a\nb"])
def test_no_such_lab(lab: str) -> None:
    """Those that there are are named, in one line."""
    with pytest.raises(HarnessError, match=r"no lab .*; there are: article, ") as caught:
        gradescope_bundle(lab, ROOT)
    assert "\n" not in str(caught.value)


def test_a_file_is_missing(tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "labs" / "tiny").mkdir(parents=True)
    (tmp_path / "labs" / "tiny" / "test_tiny.py").touch()
    with pytest.raises(HarnessError, match=r"requirements\.lock: cannot be put into the bundle: No such file"):
        gradescope_bundle("tiny", tmp_path)


@pytest.mark.parametrize("script", [SETUP, RUN])
def test_scripts_are_sound(script: str, tmp_path: Path) -> None:
    """Bash can read them, and shellcheck finds nothing."""
    path = tmp_path / "script.sh"
    path.write_text(script)
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck"):
        checked = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout) == (0, "")


def test_network_only_while_the_image_is_built() -> None:
    """Libraries are pinned by hash; run_autograder installs and fetches nothing."""
    assert re.search(r"pip install [^\n]*\\\n\s+--require-hashes -r \"\$source/requirements.lock\"", SETUP)
    assert not re.search(r"\b(pip|apt|apt-get|curl|wget|git)\b", RUN)


@pytest.mark.parametrize("status", [0, 1, 2])
def test_what_the_grader_writes_is_the_result(tmp_path: Path, status: int) -> None:
    """Its exit status is an outcome, no failure; it works in the project's folder, not the student's."""
    grader = "json.dump({'score': 7, 'seen': [lab, submission, os.getcwd()]}, open(results, 'w'))"
    root = autograder(tmp_path, f"{grader}\nsys.exit({status})")
    document, done = run(root)
    assert document == {"score": 7, "seen": ["handshake", str(root / "submission"), str(root / "source")]}
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("grader", "why"),
    [
        ("raise ValueError('it broke')", "the grader failed (status 1)"),
        ("open(results, 'w').write('{\"score\": 7'); os._exit(0)", "the grader failed (status 0)"),
        ("open(results, 'w').write('7')", "the grader failed (status 0)"),
        ("pass", "the grader failed (status 0)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "it took too long or too much memory"),
    ],
)
def test_a_grader_that_fails_leaves_no_mark(tmp_path: Path, grader: str, why: str) -> None:
    """results.json says so, without a score, and is not an earlier run's; the traceback is the staff's to read."""
    root = autograder(tmp_path, grader)
    (root / "results").mkdir()
    for name in ("results.json", ".results.json.part"):
        (root / "results" / name).write_text('{"score": 100}')
    document, done = run(root)
    assert set(document) == {"output", "output_format", "visibility", "stdout_visibility", "extra_data"}
    assert document["output"].startswith("Could not be judged: ")
    assert why in document["output"]
    assert document["extra_data"] == {"lab": "handshake", "outcome": "not-judged"}
    assert document["stdout_visibility"] == "hidden"
    assert "it broke" in done.stderr or "it broke" not in grader


def test_a_grader_that_hangs_is_stopped(tmp_path: Path) -> None:
    """Before Gradescope does it, and gives 0."""
    document, _ = run(autograder(tmp_path, "time.sleep(60)"), seconds="0.3")
    assert "too long" in document["output"]


def test_an_image_without_python_leaves_no_mark(tmp_path: Path) -> None:
    """Set-up failed, and nobody looked."""
    root = autograder(tmp_path, "pass")
    shutil.rmtree(root / "source")
    document, _ = run(root)
    assert "the grader failed (status 127)" in document["output"]


def test_a_submission_is_not_run(tmp_path: Path) -> None:
    """Python files that a student hands in are on no path."""
    root = autograder(tmp_path, "json.dump({'path': sys.path}, open(results, 'w'))")
    (root / "submission" / "json.py").write_text("raise SystemExit(9)")
    document, _ = run(root)
    assert str(root / "source") in document["path"]
    assert not [entry for entry in document["path"] if Path(entry).name == "submission"]
