"""What harness.intake promises of a submission's files: each is found by its name, or told of."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.intake.contents import Contents
from harness.intake.kinds import BESIDE
from harness.intake.parts import Part, Parts, parts_of
from tests.unit.intake_files import CAPTURE, LISTING, PCAPNG, tar_of, zip_of


def parts(files: dict[str, bytes]) -> Parts:
    return parts_of(Contents(files))


def captures(files: dict[str, bytes]) -> list[str]:
    return [part.name for part in parts(files).captures]


@pytest.mark.parametrize(
    "name",
    [
        "capture.pcap",
        "CAPTURE.PCAP",
        "capture.pcapng",
        "capture.cap",
        "Capture.dmp",
        "capture.pcap.gz",
        "x/y/capture.txt",
    ],
)
def test_a_capture_by_its_name(name: str) -> None:
    """In any case, at any depth, whatever stands in it: that is told by who reads it."""
    assert parts({name: b"?", "notes.md": b"x"}) == Parts((Part(name, b"?"),))


def test_the_pair_of_the_article() -> None:
    """The handshake first."""
    files = {"teardown.pcap": CAPTURE, "handshake.txt": LISTING}
    assert captures(files) == ["handshake.txt", "teardown.pcap"]
    assert not parts(files).problems
    assert captures({"handshake.pcap": CAPTURE}) == ["handshake.pcap"]
    both = parts({**files, "capture.txt": LISTING})
    assert [part.name for part in both.captures] == ["capture.txt"]
    assert both.problems == ("teardown.pcap, handshake.txt: set aside; capture.txt was taken",)


@pytest.mark.parametrize(
    "data", [CAPTURE, PCAPNG, LISTING, gzip.compress(CAPTURE, mtime=0), gzip.compress(LISTING, mtime=0)]
)
def test_a_capture_by_its_looks(data: bytes) -> None:
    """The only file that begins like one, or has a line of tcpdump's."""
    assert captures({"mine.bin": data, "notes.txt": b"We saw a SYN.\n", "x.json": b"{}", "y": b"\0" * 50}) == [
        "mine.bin"
    ]


def test_of_several_the_best_is_taken() -> None:
    """pcap before pcapng before text; fewer folders first; the others are named."""
    found = parts({"capture.txt": LISTING, "capture.pcapng": PCAPNG, "capture.pcap": CAPTURE})
    assert [part.name for part in found.captures] == ["capture.pcap"]
    assert found.problems == ("capture.pcapng, capture.txt: set aside; capture.pcap was taken",)
    assert captures({"capture.txt": LISTING, "capture.pcapng": PCAPNG}) == ["capture.pcapng"]
    assert captures({"old/capture.pcap": CAPTURE, "capture.txt": LISTING}) == ["capture.txt"]
    by_looks = parts({"a.log": LISTING, "b.bin": PCAPNG, "c.bin": CAPTURE, "d.bin": CAPTURE})
    assert [part.name for part in by_looks.captures] == ["c.bin"]
    assert by_looks.problems == ("a.log, b.bin, d.bin: set aside; c.bin was taken",)


def test_an_empty_capture_gives_way_to_one_that_is_none() -> None:
    """But not to a file of another name."""
    assert captures({"capture.pcap": b"", "capture.txt": LISTING}) == ["capture.txt"]
    assert captures({"capture.pcap": b"", "x.pcap": CAPTURE}) == ["capture.pcap"]


def test_notes_named_capture_are_no_capture_beside_one() -> None:
    """A text is asked for a line of tcpdump's; alone it is taken, and its reader will say what it is."""
    assert captures({"capture.txt": b"my notes", "alice.pcap": CAPTURE}) == ["alice.pcap"]
    assert captures({"capture.txt": b"my notes"}) == ["capture.txt"]


def test_a_run_folder() -> None:
    """Its listings and what else it has as text are no second capture."""
    files = {
        "capture.pcap": CAPTURE,
        **dict.fromkeys(BESIDE, LISTING),
        "run.json": b"r",
        "states.json": b"s",
        "results.json": b"{}",
        "manifest.json": b"m",
        "manifest.json.sig": b"g",
        "Answers.YML": b"a: 1",
    }
    assert parts(files) == Parts(
        (Part("capture.pcap", CAPTURE),),
        Part("Answers.YML", b"a: 1"),
        Part("run.json", b"r"),
        Part("states.json", b"s"),
        Part("manifest.json", b"m"),
        Part("manifest.json.sig", b"g"),
    )


def test_parts_of_the_captures_own_folder_come_first() -> None:
    """A record of another run would not fit."""
    files = {
        "a/run.json": b"1",
        "b/run.json": b"2",
        "b/capture.pcap": CAPTURE,
        "answers.yaml": b"",
        "c/answers.yml": b"",
    }
    found = parts(files)
    assert found.run == Part("b/run.json", b"2")
    assert found.answers == Part("answers.yaml", b"")
    assert found.problems == (
        "c/answers.yml: set aside; answers.yaml was taken",
        "a/run.json: set aside; b/run.json was taken",
    )


def test_nothing_to_judge() -> None:
    """A line says so; archives within are named."""
    found = parts(
        {"lab.zip": zip_of([("x", b"")]), "x.bin": tar_of([("x", b"")], "gz"), "report.docx": zip_of([("x", b"")])}
    )
    assert found == Parts(nested=("lab.zip", "x.bin"), problems=("no capture was found; name it capture.pcap",))


_NAMES = st.sampled_from(
    [
        "capture.pcap",
        "capture.txt",
        "handshake.log",
        "teardown.cap.gz",
        "run.json",
        "answers.yaml",
        "x",
        "a/capture.pcap",
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        _NAMES, st.sampled_from([b"", CAPTURE, PCAPNG, LISTING, b"\x1f\x8b", gzip.compress(CAPTURE, mtime=0)])
    )
)
def test_any_files(files: dict[str, bytes]) -> None:
    """The order of the files changes nothing, every capture-like file is taken or named, and lines are printable."""
    found = parts(files)
    assert found == parts(dict(reversed(files.items())))
    assert len(found.captures) <= 2
    told = "\n".join(found.problems)
    for name, data in files.items():
        if "capture" in name and data == CAPTURE:
            assert name in told or name in [part.name for part in found.captures]
    assert all(line.isprintable() for line in found.problems)
