"""docs/teachers.md and labs/README.md do what they say."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.evidence import Evidence
from harness.grading import judging
from harness.grading.judging import judge_many, rubric_folder
from harness.hosts.embedded import holding_nothing
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse

ROOT = Path(__file__).resolve().parents[2]
INVOKE = f"""#!/bin/sh
exec '{Path(sys.executable).with_name("invoke")}' --search-root '{ROOT}' "$@"
"""


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_from_roster_to_marks(tmp_path: Path) -> None:
    """Every command, in a folder of its own; and what they lead to is what the text promises."""
    try:
        holding_nothing()
    except HarnessError as error:
        pytest.skip(f"the walk runs the lab: {error}")
    (tmp_path / "invoke").write_text(INVOKE)
    (tmp_path / "invoke").chmod(0o755)
    script = "set -eu\n" + "".join(blocks("docs/teachers.md", "sh"))
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "marks" / "gradebook.csv").open(newline="") as file:
        found = {row["student"]: row for row in csv.DictReader(file)}
    assert {student: row["provenance"] for student, row in found.items()} == {
        "ann": "wire",
        "bob": "none",
        "cat": "none",
        "eve": "none",
    }
    assert {student: sorted(row["flags"].split(";")) for student, row in found.items()} == {
        "ann": ["copy"],
        "bob": ["copy"],
        "cat": ["copy"],
        "eve": ["copy", "other-nonce", "other-student"],
    }
    assert found["ann"]["score"] == "102"  # of 18 points for questions that were left out
    groups = [group["students"] for group in json.loads((tmp_path / "marks" / "copies.json").read_text())["groups"]]
    assert groups == [["ann", "eve"], ["bob", "cat"]]
    assert "nothing handed in (2): dan, eve" in done.stdout
    assert (tmp_path / "autograder.zip").stat().st_size > 100_000
    secret = (tmp_path / "secret").read_text().strip()
    kept = [path for path in (tmp_path / "marks").rglob("*") if path.is_file()]
    assert all(secret.encode() not in path.read_bytes() for path in kept)
    assert secret not in done.stdout + done.stderr


def test_a_lab_in_forty_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab of labs/README.md judges, asks, and is no longer than it says."""
    (rubric,) = blocks("labs/README.md", "python")
    assert len(rubric.splitlines()) <= 42
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "test_refused.py").write_text(rubric)
    monkeypatch.setattr(judging, "LABS", tmp_path)
    assert rubric_folder("refused") == tmp_path / "refused"
    good = parse("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1\n", isns=(7, 0))
    bad = parse("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 2\n", isns=(7, 0))
    pieces = [Evidence(conversations(segments)[0], None, {"isn_of_the_initiator": 7}) for segments in (good, bad)]
    right, wrong = judge_many("refused", pieces)
    assert [check.outcome for check in right] == ["passed"] * 4
    assert sum(check.points for check in right) == 10
    assert [check.outcome for check in wrong] == ["failed", "failed", "passed", "passed"]
    assert wrong[1].message.startswith("frame 2 (responder) ack 9, but frame 1 seq 7 + 1 = 8")


def test_the_late_policy_of_the_document(tmp_path: Path) -> None:
    from harness.grading.late import lateness, read_late_policy

    (policy,) = blocks("docs/teachers.md", "yaml")
    path = tmp_path / "late.yaml"
    path.write_text(policy)
    read = read_late_policy(path)
    due = 1795215540  # 2026-11-20T23:59:00+01:00
    for late, penalty in ((0, 0), (900, 0), (901, 12), (900 + 86401, 24), (7 * 86400 + 1, 100)):
        assert lateness(read, due + late, 120, 100).penalty == penalty
