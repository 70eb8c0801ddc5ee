"""What harness.intake promises of a class's submissions: everyone's newest work, whatever platform gave it out."""

import gzip
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.intake import bulk, gradescope
from harness.intake.layouts import Submission, find_submissions
from tests.unit.intake_files import CAPTURE, LISTING, streamed_zip, tar_of, write, zip_of

LAB = zip_of([("lab/capture.pcap", CAPTURE)])
METADATA = """
submission_1:
  :submitters:
  - :name: Alice A
    :sid: '00111'
    :email: alice@example.edu
  :created_at: 2026-04-26 17:34:00.500000000 Z
  :score: 2.0
  :results:
    :submitters: [1, 2]
    output: |-
      Assignment: 10
      :created_at: never
submission_2:
  :submitters:
  - :name: Bob B
    :email: bob@example.edu
  - :name: Carol C
    :sid: 333
  :created_at: 2026-04-26T10:34:00-07:00
submission_3:
  :submitters:
  - :name: Dave D
  :created_at: !ruby/object:ActiveSupport::TimeWithZone
    utc: &1 2026-04-26 17:34:02.000000000 Z
    zone: &2 !ruby/object:ActiveSupport::TimeZone
      name: Etc/UTC
    time: *1
submission_4:
  :submitters: []
submission_5:
  :submitters:
  - :sid: '00111'
  :created_at: 2026-04-27 00:00:00 Z
submission_6:
  :submitters:
  - :sid: gone
"""
APRIL_26 = 1777224840.0  # date -u -d '2026-04-26 17:34:00' +%s


def students(found: list[Submission]) -> list[str]:
    return [one.student for one in found]


def zipped(folder: Path, to: Path, wrap: str = "") -> Path:
    """The folder as a zip, with entries for folders as most programs make them."""
    with zipfile.ZipFile(to, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, wrap + str(path.relative_to(folder)))
    return to


def refused(path: Path, layout: str = "auto") -> str:
    """The one line."""
    with pytest.raises(HarnessError) as caught:
        find_submissions(path, layout)
    assert str(caught.value).isprintable()
    return str(caught.value)


# Plain


def test_plain_folders_archives_and_files(tmp_path: Path) -> None:
    """Each is named by the student; loose files of one student belong together; strangers' files are nobody's."""
    write(
        tmp_path,
        {
            "erin/capture.pcap": CAPTURE,
            "bob.zip": LAB,
            "carol.tar.gz": tar_of([("capture.pcap", CAPTURE)], "gz"),
            "alice.pcap": CAPTURE,
            "alice.answers.yaml": b"a: 1",
            "dave.pcap.gz": gzip.compress(CAPTURE),
            "dave_answers.yml": b"a: 2",
            "frank_handshake.txt": LISTING,
            "frank_teardown.txt": LISTING,
            "grace": CAPTURE,
            "roster.csv": b"alice,bob",
            "README.txt": b"all submissions",
            ".hidden/x": b"",
            "__MACOSX/x": b"",
        },
    )
    found = {one.student: one for one in find_submissions(tmp_path)}
    assert list(found) == ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]
    assert {name: sorted(one.open().files) for name, one in found.items()} == {
        "alice": ["alice.pcap", "answers.yaml"],
        "bob": ["capture.pcap"],
        "carol": ["capture.pcap"],
        "dave": ["answers.yml", "dave.pcap.gz"],
        "erin": ["capture.pcap"],
        "frank": ["handshake.txt", "teardown.txt"],
        "grace": ["grace"],
    }
    assert found["bob"].source == "bob.zip"
    assert found["bob"].path == tmp_path / "bob.zip"


def test_time_is_that_of_the_newest_file(tmp_path: Path) -> None:
    """Not the folder's, nor a dropping's."""
    write(tmp_path, {"alice/a": b"", "alice/deep/b": b"", "alice/.DS_Store": b""})
    for name, time in {"a": 1000.0, "deep/b": 2000.0, ".DS_Store": 9000.0}.items():
        os.utime(tmp_path / "alice" / name, (time, time))
    assert [one.time for one in find_submissions(tmp_path)] == [2000.0]


@pytest.mark.parametrize("newest", ["alice", "alice.zip", "alice.pcap"])
def test_of_several_submissions_the_newest_counts(tmp_path: Path, newest: str) -> None:
    """The others are named; answers beside them belong to whichever counts, unless there is a loose capture."""
    write(tmp_path, {"alice/capture.pcap": CAPTURE, "alice.zip": LAB, "alice.pcap": CAPTURE})
    for path in tmp_path.rglob("*"):
        os.utime(path, (1000, 1000))
    os.utime(tmp_path / newest if newest != "alice" else tmp_path / "alice" / "capture.pcap", (2000, 2000))
    (alice,) = find_submissions(tmp_path)
    assert (alice.source, alice.time) == (newest, 2000.0)
    assert len(alice.problems) == 2
    assert all(line.endswith(f": set aside for the newer {newest}") for line in alice.problems)


def test_answers_beside_an_archive_belong_to_it(tmp_path: Path) -> None:
    """The archive's one folder is left out all the same."""
    write(tmp_path, {"alice.zip": LAB, "alice_answers.yaml": b"a: 1"})
    (alice,) = find_submissions(tmp_path)
    assert alice.open().files == {"alice/capture.pcap": CAPTURE, "answers.yaml": b"a: 1"}
    assert not alice.problems


def test_a_folder_that_is_itself_one_submission(tmp_path: Path) -> None:
    """Parts that are named by nobody are those of the folder."""
    write(tmp_path / "alice", {"capture.pcap": CAPTURE, "answers.yaml": b"a: 1", "run.json": b"{}"})
    (alice,) = find_submissions(tmp_path / "alice")
    assert (alice.student, len(alice.open().files)) == ("alice", 3)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """It is somebody's, and is told of when it is opened."""
    secret = write(tmp_path / "secret", {"capture.pcap": CAPTURE})
    write(tmp_path / "all", {"bob.pcap": CAPTURE})
    (tmp_path / "all" / "alice").symlink_to(secret)
    alice, bob = find_submissions(tmp_path / "all")
    assert bob.open().files
    with pytest.raises(HarnessError, match="alice: is a symbolic link, which is not followed"):
        alice.open()


def test_names_are_safe_sorted_and_unique(tmp_path: Path) -> None:
    """They become folders where upper and lower case may be one."""
    write(tmp_path, {f"{name}/capture.pcap": CAPTURE for name in ("b", "B", "\x1b[2Ja\n", "Z", "ä", "-rf", "x" * 150)})
    found = students(find_submissions(tmp_path))
    assert found == sorted(found) == ["B", "Z", "_[2Ja_", "_rf", "b-2", "x" * 100, "ä"]
    assert all(one.source.isprintable() for one in find_submissions(tmp_path))


# Moodle

MOODLE = {
    "Zoë Müller_2001_assignsubmission_file_/lab.zip": LAB,
    "Zoë Müller_2001_assignsubmission_onlinetext_/onlinetext.html": b"<p>done</p>",
    "Jane Doe_2002_assignsubmission_file/capture.pcap": CAPTURE,
    "Jane Doe_2003_assignsubmission_file/capture.pcap": CAPTURE,
    "Default group_assignsubmission_file_/capture.pcap": CAPTURE,
    "Abe Lee_2004_assignsubmission_file_capture.pcap": CAPTURE,
    "Abe Lee_2004_assignsubmission_file_answers_final.yaml": b"a: 1",
}


@pytest.mark.parametrize("how", ["folder", "zip", "wrapped", "wrapped zip"])
def test_moodle(tmp_path: Path, how: str) -> None:
    """Folders of old and new versions, flat files, groups, the online text; unpacked or not, in a folder or not."""
    inner = "CS1-Lab 1-77/" if how.startswith("wrapped") else ""
    where = write(tmp_path / "all", {inner + name: data for name, data in MOODLE.items()})
    if how.endswith("zip"):
        where = zipped(where, tmp_path / "all.zip")
    found = find_submissions(where)
    assert found == find_submissions(where, "moodle")
    assert students(found) == ["Abe Lee", "Default group", "Jane Doe-2002", "Jane Doe-2003", "Zoë Müller"]
    assert [sorted(one.open().files) for one in found] == [
        ["answers_final.yaml", "capture.pcap"],
        ["capture.pcap"],
        ["capture.pcap"],
        ["capture.pcap"],
        ["lab/capture.pcap", "onlinetext/onlinetext.html"],
    ]
    assert found[1].source == f"{inner}Default group_assignsubmission_file_"
    assert pickle.loads(pickle.dumps(found[4])).open() == found[4].open()  # noqa: S301 # our own


def test_a_stray_entry_is_not_lost(tmp_path: Path) -> None:
    """What the platform did not name is taken as in a plain folder, with a line; a roster is nobody's."""
    write(tmp_path, MOODLE | {"alice.zip": LAB, "grades.csv": b"", "Grades-CS1.txt": b""})
    alice = next(one for one in find_submissions(tmp_path) if one.student == "alice")
    assert alice.problems == ("alice.zip: was not named by Moodle; it is taken as in a plain folder",)
    assert len(find_submissions(tmp_path)) == 6


# Canvas

CANVAS = {
    "doejane_1001_501_capture.pcap": CAPTURE + b"old",
    "doejane_1001_511_capture-1.pcap": CAPTURE,
    "doejane_1001_502_answers.yaml": b"a: 1",
    "leeabe_LATE_1002_503_my_lab_2.zip": LAB,
    "o_brien_1003_text.html": b"<p>",
    "anon_Ab1cD_504_capture.pcap": CAPTURE,
    "LATE_anon_xY2zz_505_capture.pcap": CAPTURE,
}


@pytest.mark.parametrize("zip_it", [False, True])
def test_canvas(tmp_path: Path, zip_it: bool) -> None:
    """Late marks, files uploaded again, texts, anonymous students."""
    where = write(tmp_path / "all", CANVAS)
    found = find_submissions(zipped(where, tmp_path / "submissions.zip") if zip_it else where)
    assert [(one.student, one.late, one.known_as) for one in found] == [
        ("anon_Ab1cD", False, "Ab1cD"),
        ("anon_xY2zz", True, "xY2zz"),
        ("doejane", False, "1001"),
        ("leeabe", True, "1002"),
        ("o_brien", False, "1003"),
    ]
    jane = found[2]
    assert jane.open().files == {"capture.pcap": CAPTURE, "answers.yaml": b"a: 1"}
    assert jane.problems == ("doejane_1001_501_capture.pcap: set aside for the newer doejane_1001_511_capture-1.pcap",)
    assert set(found[3].open().files) == {"capture.pcap"}
    assert set(found[4].open().files) == {"text.html"}


# Gradescope


@pytest.mark.parametrize("how", ["folder", "zip", "wrapped zip"])
def test_gradescope(tmp_path: Path, how: str) -> None:
    """The student by number, else address, else name; partners; times in each way; the newest; who is missing."""
    where = write(tmp_path / "all", {f"submission_{n}/capture.pcap": CAPTURE for n in (1, 2, 3, 4, 5, 7)})
    write(where, {"submission_metadata.yml": METADATA.encode(), "submission_1/old": b""})
    if how != "folder":
        where = zipped(where, tmp_path / "x.zip", "assignment_8_export/" if "wrapped" in how else "")
    found = {one.student: one for one in find_submissions(where)}
    assert list(found) == ["00111", "Dave D", "bob@example.edu", "gone", "submission_4", "submission_7"]
    alice, dave, bob = (found[name] for name in ("00111", "Dave D", "bob@example.edu"))
    assert alice.source.endswith("submission_5")
    assert alice.problems == ("submission_1: set aside for the newer submission_5",)
    assert (bob.partners, bob.time, dave.time) == (("333",), APRIL_26, APRIL_26 + 2)
    assert alice.time == 1777248000.0
    assert bob.open().files == {"capture.pcap": CAPTURE}
    assert not found["gone"].open().files
    assert found["gone"].problems == ("submission_metadata.yml names submission_6, which is not in the download",)
    assert found["submission_4"].problems == ("submission_metadata.yml names no submitter of submission_4",)
    assert found["submission_7"].problems[0].endswith("was not named by Gradescope; it is taken as in a plain folder")


def test_times_as_ruby_writes_them() -> None:
    """With fractions, with an offset, or nonsense."""
    assert gradescope._time("2026-04-26 17:34:00.5 Z") == APRIL_26 + 0.5
    assert gradescope._time("2026-04-26 19:34:00 +02:00") == APRIL_26
    assert gradescope._time("2026-04-26T10:34:00-07:00") == APRIL_26
    assert gradescope._time("2026-13-26 17:34:00 Z") is None
    assert gradescope._time("yesterday") is None


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (b"a: [", "is no YAML"),
        (b"a:\n  :submitters: &x\n  - :sid: '1'\nb:\n  :submitters: *x\n", "line 5: has an alias"),
        (b"\x01", "is no YAML"),
    ],
)
def test_bad_metadata(tmp_path: Path, metadata: bytes, why: str) -> None:
    """One line."""
    write(tmp_path, {"submission_metadata.yml": metadata, "a/capture.pcap": CAPTURE})
    assert refused(tmp_path).startswith(f"submission_metadata.yml: {why}")


def test_deep_metadata_is_only_passed_over(tmp_path: Path) -> None:
    """What an autograder put there is not kept, nor are its aliases followed."""
    bomb = "  :results:\n    a: &a [x, x]\n    b: &b [*a, *a]\n    c: [*b, *b]\n    d: " + "[" * 50 + "]" * 50 + "\n"
    write(tmp_path, {"submission_metadata.yml": (METADATA + bomb).encode(), "submission_1/x": b""})
    assert "gone" in students(find_submissions(tmp_path))


def test_metadata_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is parsed."""
    monkeypatch.setattr(gradescope, "_MOST_BYTES", 100)
    write(tmp_path, {"submission_metadata.yml": METADATA.encode()})
    assert "is larger than 100 bytes" in refused(tmp_path)


# Which layout


def test_the_layout_that_more_than_half_fits(tmp_path: Path) -> None:
    """If only half fits it is a plain folder."""
    names = ["a_1_2_x.pcap", "b_1_2_x.pcap", "carol.pcap", "dave.pcap"]
    where = write(tmp_path, dict.fromkeys(names, CAPTURE))
    assert students(find_submissions(where)) == ["a_1_2_x", "b_1_2_x", "carol", "dave"]
    (where / "dave.pcap").unlink()
    assert students(find_submissions(where)) == ["a", "carol"]
    assert students(find_submissions(where, "plain")) == ["a_1_2_x", "b_1_2_x", "carol"]


def test_a_plain_zip_and_what_wraps_it(tmp_path: Path) -> None:
    """A folder that holds only folders and archives is a class; one that holds files is a student."""
    write(tmp_path / "class", {"alice/capture.pcap": CAPTURE, "bob.zip": LAB})
    flat, wrapped = tmp_path / "flat.zip", tmp_path / "wrapped.zip"
    for path, wrap in ((flat, ""), (wrapped, "class/")):
        found = find_submissions(zipped(tmp_path / "class", path, wrap))
        assert students(found) == ["alice", "bob"]
        assert [set(one.open().files) for one in found] == [{"capture.pcap"}] * 2
        assert found[0].source == wrap + "alice"
    one = tmp_path / "one.zip"
    one.write_bytes(zip_of([("alice/capture.pcap", CAPTURE), ("alice/answers.yaml", b"")]))
    assert students(find_submissions(one)) == ["alice"]


def test_an_empty_folder_in_a_zip_is_a_submission_without_files(tmp_path: Path) -> None:
    """It is not the whole zip."""
    path = tmp_path / "all.zip"
    path.write_bytes(zip_of([("alice/", b""), ("bob/capture.pcap", CAPTURE), ("carol.pcap", CAPTURE)]))
    alice, bob, _ = find_submissions(path)
    assert alice.open().files == {}
    assert alice.open().problems == ("no file was handed in",)
    assert set(bob.open().files) == {"capture.pcap"}


def test_hostile_names_within_a_zipped_download(tmp_path: Path) -> None:
    """Those that lead elsewhere are nobody's, or left out with a line when the student's submission is opened."""
    path = tmp_path / "all.zip"
    path.write_bytes(
        zip_of([("../x/capture.pcap", b""), ("/y/z", b""), ("alice/../../x", b""), ("alice/a.pcap", CAPTURE)])
    )
    (alice,) = find_submissions(path)
    contents = alice.open()
    assert contents.files == {"a.pcap": CAPTURE}
    assert contents.problems == ("../../x: its path leads out of the submission",)


def test_a_zipped_download_is_not_held_in_memory(tmp_path: Path) -> None:
    """Only names and places are kept; each submission is read when it is opened."""
    path = tmp_path / "all.zip"
    path.write_bytes(zip_of([(f"s{number:03}/capture.pcap", CAPTURE + bytes(10_000)) for number in range(300)]))
    found = find_submissions(path)
    assert len(found) == 300
    assert len(pickle.dumps(found)) < 300 * 1000
    assert found[299].open().files == {"capture.pcap": CAPTURE + bytes(10_000)}


@pytest.mark.parametrize("layout", ["moodle", "canvas", "gradescope"])
def test_a_layout_that_does_not_fit(tmp_path: Path, layout: str) -> None:
    """The line says what is looked for."""
    write(tmp_path, {"alice/capture.pcap": CAPTURE})
    line = refused(tmp_path, layout)
    assert f"is no download of {layout.title()}: nothing in it is named like " in line


def test_what_is_no_folder_of_submissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its line."""
    write(tmp_path, {"empty/.hidden": b"", "a.pcap": CAPTURE, "cut.zip": zip_of([("a/x", b"x")])[:-30]})
    assert refused(tmp_path / "none").endswith("none: there is no such folder of submissions")
    assert refused(tmp_path / "empty").endswith("empty: there is no submission in it")
    assert refused(tmp_path / "a.pcap").endswith("a.pcap: is neither a folder of submissions nor a whole zip of them")
    assert refused(tmp_path / "cut.zip").endswith("is neither a folder of submissions nor a whole zip of them")
    assert refused(tmp_path, "blackboard").startswith("'blackboard' is no layout of submissions; known are auto, ")
    monkeypatch.setattr(bulk, "MOST_ENTRIES", 5)
    (tmp_path / "many.zip").write_bytes(zip_of((f"{number}/x", b"") for number in range(6)))
    assert refused(tmp_path / "many.zip").endswith("has more than 5 members; unpack it first")


def test_times_in_a_zip(tmp_path: Path) -> None:
    """The extended timestamp if there is one, else local time, as if it had been unpacked."""
    path = tmp_path / "all.zip"
    path.write_bytes(streamed_zip([("alice/a", b"a")]))
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("alice/a", (2024, 5, 6, 12, 0, 0))
        info.extra = b"UT\x05\x00\x01" + (1_700_000_000).to_bytes(4, "little")
        archive.writestr(info, b"a")
        archive.writestr(zipfile.ZipInfo("bob/a", (2024, 5, 6, 12, 0, 0)), b"a")
    alice, bob = find_submissions(path)
    assert alice.time == 1_700_000_000.0
    assert bob.time is not None
    assert abs(bob.time - 1714996800) <= 14 * 3600  # whatever the time zone here


def test_a_thousand_submissions(tmp_path: Path) -> None:
    """All are found, and are sorted."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in reversed(range(1000)):
            archive.writestr(f"Jane Doe_{number}_assignsubmission_file_/capture.pcap", CAPTURE)
    (tmp_path / "all.zip").write_bytes(out.getvalue())
    found = find_submissions(tmp_path / "all.zip")
    assert students(found) == sorted(f"Jane Doe-{number}" for number in range(1000))


def test_one_student_alone_is_not_taken_for_a_class(tmp_path: Path) -> None:
    """Moodle's folder of one student's archives; a folder on disk, which the teacher named, is never entered."""
    write(
        tmp_path / "moodle",
        {"Jane Doe_1_assignsubmission_file_/a.zip": LAB, "Jane Doe_1_assignsubmission_file_/b.zip": LAB},
    )
    assert students(find_submissions(zipped(tmp_path / "moodle", tmp_path / "all.zip"))) == ["Jane Doe"]
    write(tmp_path / "plain", {"alice/part1/handshake.pcap": CAPTURE, "alice/part2/teardown.pcap": CAPTURE})
    assert students(find_submissions(tmp_path / "plain")) == ["alice"]
