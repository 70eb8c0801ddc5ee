"""Grading as a teacher does it: real processes, limits, kills, and files."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.submissions import DATA, hand_in, honest, make_class, seeded
from harness.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
INVOKE = (str(Path(sys.executable).with_name("invoke")), "grade")
TIMEOUT = 120
Finished = subprocess.CompletedProcess[str]


def grade(folder: Path, out: Path, *switches: str, status: int = 0) -> Finished:
    """Run ./invoke grade to its end."""
    command = [*INVOKE, "--submissions", str(folder), "--out", str(out), *switches]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    return done


def gradebook(out: Path) -> dict[str, dict[str, str]]:
    """gradebook.csv by student."""
    with (out / "gradebook.csv").open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def results(out: Path, student: str) -> Any:
    return json.loads((out / "students" / student / "results.json").read_text(encoding="utf-8"))


def all_files(out: Path) -> dict[str, str]:
    """The digest of everything that grading wrote, but for the database's own bytes."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith("gradebook.db")
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For submissions."""
    made = tmp_path / "submissions"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def graded_class(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sixty submissions, graded by one process."""
    base = tmp_path_factory.mktemp("class")
    make_class(base / "submissions", 60)
    grade(base / "submissions", base / "out", "--jobs", "1")
    return base / "submissions", base / "out"


# The marks


def test_a_class(graded_class: tuple[Path, Path]) -> None:
    """The honest have all points, who is wrong has less, and what cannot be judged has no mark."""
    _, out = graded_class
    found = gradebook(out)
    assert list(found) == sorted(found)
    assert len(found) == 60
    for student, row in found.items():
        kind = int(student[-1])
        assert row["max"] == "120"
        assert row["provenance"] == "none"
        if kind < 7:
            assert (row["outcome"], row["score"], row["flags"]) == ("passed", "120", ""), student
        elif kind < 9:
            assert row["outcome"] == "failed", student
            assert int(row["score"]) < 120
        else:
            assert row["outcome"] in {"failed", "not-judged"}
            assert (row["score"] == "") == (row["outcome"] == "not-judged")


def test_each_students_folder(graded_class: tuple[Path, Path]) -> None:
    """Named, whole, and for the owner's eyes only."""
    _, out = graded_class
    for student, row in gradebook(out).items():
        folder = out / "students" / student
        written = {"results.json", "feedback.md", "feedback.html", "junit.xml", "report.html"}
        assert {path.name for path in folder.iterdir()} - {"report-2.html"} == written
        document = results(out, student)
        assert (document["schema"], document["lab"]) == ("tcp-lab/results/v1", "handshake")
        assert str(document["score"] if document["score"] is not None else "") == row["score"]
        assert len(document["checks"]) == 39
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_database_may_be_asked(graded_class: tuple[Path, Path]) -> None:
    _, out = graded_class
    with sqlite3.connect(f"file:{out / 'gradebook.db'}?mode=ro", uri=True) as database:
        rows = dict(database.execute("SELECT student, score FROM submissions").fetchall())
        checks = database.execute("SELECT count(*), count(DISTINCT student) FROM outcomes").fetchone()
    assert {student: str(int(score)) if score is not None else "" for student, score in rows.items()} == {
        student: row["score"] for student, row in gradebook(out).items()
    }
    assert checks == (60 * 39, 60)


def test_the_same_whatever_the_processes(graded_class: tuple[Path, Path], tmp_path: Path) -> None:
    """Byte for byte."""
    folder, out = graded_class
    grade(folder, tmp_path / "out", "--jobs", "3")
    assert all_files(tmp_path / "out") == all_files(out)


# Going on


def test_an_earlier_gradebook_is_not_overwritten(graded_class: tuple[Path, Path]) -> None:
    folder, out = graded_class
    before = all_files(out)
    done = grade(folder, out, status=2)
    assert "go on with it by --resume" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert all_files(out) == before


def test_resume_judges_what_is_new_or_changed(folder: Path, tmp_path: Path) -> None:
    """And forgets who has handed in nothing any more."""
    out, rng = tmp_path / "out", seeded(5)
    for student in ("ann", "bob", "eve"):
        hand_in(folder, student, honest(rng))
    grade(folder, out)
    old = (out / "students" / "ann" / "results.json").stat().st_mtime_ns
    (folder / "bob" / "answers.yaml").write_bytes(b"closer: both\n")
    hand_in(folder, "zoe", honest(rng), "zip")
    for path in (folder / "eve").iterdir():
        path.unlink()
    (folder / "eve").rmdir()
    grade(folder, out, "--resume")
    assert (out / "students" / "ann" / "results.json").stat().st_mtime_ns == old
    assert {student: row["score"] for student, row in gradebook(out).items()} == {
        "ann": "120",
        "bob": "100",
        "zoe": "120",
    }


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL half-way: resumed, all is as if nothing had happened; no process is left."""
    folder, out, whole = tmp_path / "submissions", tmp_path / "out", tmp_path / "whole"
    make_class(folder, 300, seed=3)
    command = [*INVOKE, "--submissions", str(folder), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for("some to be judged", lambda: len(list(out.glob("students/*"))) > 40, seconds=60)
    finally:
        process.kill()
        process.wait()
    wait_for("its workers to end", lambda: not in_session(process.pid), seconds=60)
    with sqlite3.connect(out / "gradebook.db") as database:
        kept = database.execute("SELECT count(*) FROM submissions").fetchone()[0]
    assert 0 < kept < 300
    grade(folder, out, "--resume")
    grade(folder, whole)
    assert all_files(out) == all_files(whole)


def test_ctrl_c_keeps_what_is_judged(tmp_path: Path) -> None:
    folder, out = tmp_path / "submissions", tmp_path / "out"
    make_class(folder, 400, seed=4)
    command = [*INVOKE, "--submissions", str(folder), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for("some to be judged", lambda: len(list(out.glob("students/*"))) > 40, seconds=60)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "of 400 submissions are judged and kept; go on with --resume" in said.splitlines()[-1]
    assert not in_session(process.pid)
    grade(folder, out, "--resume")
    assert len(gradebook(out)) == 400


def in_session(leader: int) -> list[str]:
    """The processes of a session (proc_pid_stat(5))."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(path.parent.name)
    return found


# What a submission may do to its judge


PRIVATE = """
import os
import pytest

@pytest.mark.points(5)
def test_ours(conversation):
    '''It ends well.'''
    frames = len(conversation.segments)
    {body}
"""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("os.abort() if frames == 44 else None", "ended the worker by SIGABRT"),
        ("os._exit(3) if frames == 44 else None", "ended the worker with status 3"),
        ("bytearray(8 << 30) if frames == 44 else None", "MemoryError"),
        ("while frames == 44: pass", "took longer than"),
    ],
)
def test_one_bad_one_changes_no_other(body: str, why: str, folder: Path, tmp_path: Path) -> None:
    """A crash, an endless loop or a greedy one is could-not-be-judged, for who caused it only."""
    private = tmp_path / "private"
    private.mkdir()
    (private / "test_private.py").write_text(PRIVATE.format(body=body))
    rng = seeded(6)
    for number in range(12):
        hand_in(folder, f"s{number:02}", honest(rng, "three-segment" if number == 5 else "four-segment"))
    out = tmp_path / "out"
    program = (
        "import sys; from pathlib import Path; from harness.grading.grader import Order, grade\n"
        f"order = Order('handshake', Path({str(folder)!r}), Path({str(out)!r}), jobs=2, seconds=6)\n"
        f"import dataclasses; sys.exit(grade(dataclasses.replace(order, private=Path({str(private)!r}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    found = gradebook(tmp_path / "out")
    assert {student: row["score"] for student, row in found.items()} == {
        f"s{number:02}": "" if number == 5 else "125" for number in range(12)
    }
    document = results(tmp_path / "out", "s05")
    assert why in json.dumps(document)
    assert document["max_score"] == 125


def test_a_rubric_that_cannot_be_run_stops_the_grading(folder: Path, tmp_path: Path) -> None:
    """Before anything is marked."""
    private = tmp_path / "private"
    private.mkdir()
    (private / "test_private.py").write_text(PRIVATE.format(body="no_such_name"))
    hand_in(folder, "ann", honest(seeded(7)))
    done = grade(folder, tmp_path / "out", "--private", str(private), status=2)
    assert "the rubric of lab 'handshake' cannot be run: ours" in done.stderr
    assert "no_such_name" in done.stderr
    assert not (tmp_path / "out" / "gradebook.csv").exists()


# By hand


def test_what_students_hand_in(folder: Path, tmp_path: Path) -> None:
    """A capture alone, tcpdump's text, the article's pair, a zip in a folder."""
    rng = seeded(8)
    hand_in(folder, "alone", honest(rng), "capture")
    hand_in(folder, "inner", {"work/final/" + name: data for name, data in honest(rng).items()}, "zip")
    (folder / "pasted").mkdir()
    files = honest(rng, "four-segment")
    printed = subprocess.run(
        ["tcpdump", "-n", "-S", "-r", "-"], input=files["capture.pcap"], capture_output=True, check=True, timeout=20
    )
    (folder / "pasted" / "capture.txt").write_bytes(printed.stdout)
    (folder / "pasted" / "answers.yaml").write_bytes(files["answers.yaml"])
    (folder / "pair").mkdir()
    for name in ("handshake", "teardown"):
        (folder / "pair" / f"{name}.txt").write_bytes((DATA / f"article-{name}.txt").read_bytes())
    grade(folder, tmp_path / "out")
    found = gradebook(tmp_path / "out")
    assert {student: row["score"] for student, row in found.items() if student != "pair"} == {
        "alone": "100",
        "inner": "120",
        "pasted": "109",  # a listing does not hold the seq of an empty ACK
    }
    outcomes = {check["id"]: check["outcome"] for check in results(tmp_path / "out", "pair")["checks"]}
    assert outcomes["three_segments_open"] == "passed"
    assert outcomes["no_reset"] == "passed"
    assert outcomes["last_ack"] == "not-shown"  # the article's second listing shows no FIN


def test_nothing_that_can_be_judged(folder: Path, tmp_path: Path) -> None:
    """Each could not be judged, with the cause; that is no error of the grading."""
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.md").write_text("I will do it tomorrow")
    hand_in(folder, "garbage", {"capture.pcap": b"\0" * 100})
    grade(folder, tmp_path / "out")
    assert {row["outcome"] for row in gradebook(tmp_path / "out").values()} == {"not-judged"}
    assert "there is no capture in it" in results(tmp_path / "out", "empty")["cause"]
    assert "not a pcap file" in results(tmp_path / "out", "garbage")["cause"]
    feedback = (tmp_path / "out" / "students" / "empty" / "feedback.md").read_text()
    assert "no capture" in feedback


# Whose it is


def test_roster_copies_and_nonces(folder: Path, tmp_path: Path) -> None:
    """Copies are found in whatever form; partners may; who is not on the roster, and who handed in nothing, is told."""
    rng = seeded(9)
    files = honest(rng, "four-segment")
    hand_in(folder, "ann", files)
    listing = subprocess.run(
        ["tcpdump", "-n", "-S", "-r", "-"], input=files["capture.pcap"], capture_output=True, check=True, timeout=20
    ).stdout.replace(b"192.168.1.63", b"10.1.1.1")
    hand_in(folder, "bob", {"capture.txt": listing, "answers.yaml": files["answers.yaml"]}, "zip")
    both = honest(rng)
    hand_in(folder, "cat", both)
    hand_in(folder, "dan", both)
    hand_in(folder, "eve", honest(rng))
    roster = tmp_path / "roster.csv"
    roster.write_text("student,name,partner\nann,Ann A,\nbob,Bob B,\ncat,Cat C,dan\ndan,Dan D,\nfay,Fay F,\n")
    done = grade(folder, tmp_path / "out", "--roster", str(roster))
    flags = {student: row["flags"] for student, row in gradebook(tmp_path / "out").items()}
    assert {student for student, said in flags.items() if "copy" in said} == {"ann", "bob"}
    assert flags["eve"] == "not-on-roster"
    assert "nothing handed in (1): fay" in done.stdout
    (group,) = json.loads((tmp_path / "out" / "copies.json").read_text())["groups"]
    assert group["students"] == ["ann", "bob"]
    assert len(group["pairs"][0]["shared_frames"]) > 60
    for row in gradebook(tmp_path / "out").values():
        assert row["score"] == ("109" if row["student"] == "bob" else "120")  # never a mark


def test_a_submission_twice_is_one_connection(folder: Path, tmp_path: Path) -> None:
    """Forty who hand in the teacher's sample are one group."""
    sample = honest(seeded(10))
    for number in range(40):
        hand_in(folder, f"s{number:02}", sample)
    grade(folder, tmp_path / "out")
    (group,) = json.loads((tmp_path / "out" / "copies.json").read_text())["groups"]
    assert len(group["students"]) == 40
    assert len(group["pairs"]) == 39


# What else may be asked for


def test_private_late_and_exports(folder: Path, tmp_path: Path) -> None:
    private, policy = tmp_path / "private", tmp_path / "late.yaml"
    private.mkdir()
    (private / "test_private.py").write_text(PRIVATE.format(body="assert frames"))
    policy.write_text("due: 2026-01-01T00:00:00Z\nper: day\npenalty: 10%\n")
    hand_in(folder, "ann", honest(seeded(11)), "zip")
    os.utime(folder / "ann.zip", (1767225600 + 90000,) * 2)  # one day and one hour late
    out = tmp_path / "out"
    grade(
        folder, out, "--private", str(private), "--late-policy", str(policy),
        "--export", "gradescope,canvas", "--export", "moodle", "--export", "autolab",
    )  # fmt: skip
    row = gradebook(out)["ann"]
    assert (row["score"], row["max"]) == ("100", "125")  # two days have begun
    assert {path.name for path in (out / "export").iterdir()} == {"gradescope", "canvas", "moodle", "autolab"}
    found = next((out / "export" / "gradescope").rglob("results.json"))
    assert json.loads(found.read_text())["score"] == 100


@pytest.mark.parametrize(
    ("switches", "told"),
    [
        (("--lab", "nope"), "no lab 'nope'"),
        (("--export", "blackboard"), "--export blackboard: known are autolab, canvas, gradescope, moodle"),
        (("--private", "/nonexistent"), "there is no test_*.py in it"),
        (("--roster", "/nonexistent"), "/nonexistent"),
        (("--secret-file", "/nonexistent"), "--secret-file needs --roster"),
        (("--late-policy", "/nonexistent"), "/nonexistent"),
        (("--allowed-signers", "/nonexistent"), "/nonexistent"),
        (("--layout", "nope"), "nope"),
        (("--lang", "fr"), "--lang fr: known are en, zh"),
        (("--cluster", "localhost"), "--cluster localhost: want the scheduler's address, tcp://HOST:PORT"),
        (("--pages", "some"), "--pages some: known are all, none, auto"),
        (("--jobs", "5000"), "--jobs 5000"),
        (("--jobs", "many"), "--jobs many: want a whole number"),
    ],
)
def test_bad_orders_are_one_line(switches: tuple[str, ...], told: str, folder: Path, tmp_path: Path) -> None:
    hand_in(folder, "ann", honest(seeded(12)))
    done = grade(folder, tmp_path / "out", *switches, status=2)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_submissions(tmp_path: Path) -> None:
    done = grade(tmp_path / "none", tmp_path / "out", status=2)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


# Languages


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ten submissions, graded in English: of every kind there is."""
    base = tmp_path_factory.mktemp("few")
    make_class(base / "submissions", 10)
    grade(base / "submissions", base / "out")
    return base / "submissions", base / "out"


def in_database(out: Path) -> dict[str, list[Any]]:
    """What gradebook.db says of marks; not by which version of the sources they were given."""
    columns = {
        "submissions": "student, source, content, outcome, score, max_score, provenance, graded",
        "outcomes": "*",
        "fingerprints": "*",
        "keys": "*",
    }
    with closing(sqlite3.connect(out / "gradebook.db")) as database:
        return {
            table: database.execute(f"SELECT {names} FROM {table} ORDER BY 1, 2, 3").fetchall()  # noqa: S608
            for table, names in columns.items()
        }


def test_feedback_in_chinese(few: tuple[Path, Path], tmp_path: Path) -> None:
    """Every line that a student reads, titles and messages too; no mark and no other file depends on the language."""
    folder, english = few
    out, exported = tmp_path / "out", tmp_path / "exported"
    done = grade(folder, out, "--jobs", "2", "--lang", "zh", "--export", "gradescope,moodle,canvas,autolab")
    assert "10 份提交" in done.stdout
    grade(folder, exported, "--export", "gradescope,moodle,canvas,autolab", "--pages", "none")
    ours, theirs, plain = all_files(out), all_files(english), all_files(exported)
    differing = {Path(name).name for name in theirs if ours[name] != theirs[name]}
    assert differing == {"feedback.md", "feedback.html", "report.html", "gradebook.html"}
    assert [name for name in plain if name.startswith("export/") and ours[name] != plain[name]] == []
    assert in_database(out) == in_database(english)
    for path in out.glob("students/*/feedback.md"):
        prose = [line for line in path.read_text().partition("```text")[0].splitlines() if line.strip()]
        assert [line for line in prose if not re.search(r"[\u4e00-\u9fff]", line)] == []
        assert '<html lang="zh-CN">' in path.with_suffix(".html").read_text()[:40]


def test_resumed_in_another_language(few: tuple[Path, Path], tmp_path: Path) -> None:
    """All that students read is in the language of the last grading; the marks are what they were."""
    folder, english = few
    out = tmp_path / "out"
    shutil.copytree(english, out)
    grade(folder, out, "--resume", "--lang", "zh")
    pages = list(out.glob("students/*/*.html"))
    assert len(pages) >= 10
    assert all('<html lang="zh-CN"' in page.read_text()[:100] for page in pages)
    assert in_database(out) == in_database(english)
    told = {page: page.stat().st_mtime_ns for page in pages}
    grade(folder, out, "--resume", "--lang", "zh")  # nothing is left to do
    assert {page: page.stat().st_mtime_ns for page in pages} == told
    grade(folder, out, "--resume")
    assert all_files(out) == all_files(english)


def test_resumed_with_pages(few: tuple[Path, Path], tmp_path: Path) -> None:
    """Who was judged without a page has one now, and the marks are what they were; a second time nothing is left."""
    folder, english = few
    out = tmp_path / "out"
    grade(folder, out, "--pages", "none")
    assert not list(out.glob("students/*/report.html"))
    grade(folder, out, "--resume", "--pages", "all")
    assert all_files(out) == all_files(english)
    told = {page: page.stat().st_mtime_ns for page in out.glob("students/*/*.html")}
    grade(folder, out, "--resume", "--pages", "all")
    assert {page: page.stat().st_mtime_ns for page in told} == told


# The autograder's entry


def test_one_submission_for_gradescope(folder: Path, tmp_path: Path) -> None:
    """`python -m harness.grading.one` writes what Gradescope reads."""
    rng = seeded(13)
    hand_in(folder, "submission", honest(rng))
    results_json = tmp_path / "results.json"
    command = [sys.executable, "-m", "harness.grading.one", "handshake", str(folder / "submission"), str(results_json)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(results_json.read_text())
    assert document["score"] == 120
    assert len(document["tests"]) == 39
    done = subprocess.run(
        [*command[:-2], str(folder / "none"), str(results_json)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 2
    assert "there is no submission" in done.stderr


def test_the_autograder_that_gradescope_unpacks(tmp_path: Path) -> None:
    """The bundle grades a submission by itself, from its own sources."""
    bundle, source = tmp_path / "autograder.zip", tmp_path / "source"
    invoke = str(Path(sys.executable).with_name("invoke"))
    done = subprocess.run(
        [invoke, "gradescope-bundle", "--out", str(bundle)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(source)
    (source / ".venv").symlink_to(Path(sys.executable).parents[1])
    hand_in(tmp_path, "submission", honest(seeded(14)))
    environment = {**os.environ, "AUTOGRADER": str(tmp_path)}
    done = subprocess.run(
        ["bash", str(source / "run_autograder")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "results" / "results.json").read_text())
    assert document["score"] == 120
