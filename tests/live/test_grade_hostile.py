"""A class with copies and hostile submissions: the right marks, the right pairs, and no surprise."""

import functools
import gzip
import json
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.submissions import Files, hand_in, honest, seeded, tarred, zipped
from tests.live.test_grade import Finished, grade, gradebook, results
from tests.unit.copying import good, in_turn, listing, readdressed, retimed
from tests.unit.intake_files import overlapping_zip, tar_member, zip_of

Outcome = tuple[Path, Finished]
HONEST = 60
BOMB = 1 << 30  # bytes that it would make
ESCAPE = "\x1b]0;owned\x07\x1b[31m"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@functools.cache
def bomb() -> bytes:
    """A gigabyte of zeros, deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(BOMB >> 20)) + packer.flush()


def lying(claim: int) -> bytes:
    """A pcap whose record claims to be so long."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    return head + struct.pack("<IIII", 1, 1, claim, claim) + bytes(100)


def many_members() -> bytes:
    """A tar.gz of a million empty files, written by hand."""
    member = tarfile.TarInfo("x").tobuf()
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(packer.compress(member * 1000) for _ in range(1000)) + packer.flush()


def aliases() -> bytes:
    """The billion laughs, as YAML."""
    lines = ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    return "\n".join(lines).encode()


def hostile_answers(text: str) -> Callable[[Path, Files], None]:
    """An honest capture with answers that are not meant to be read."""
    return lambda path, files: hand_in(path.parent, path.name, files | {"answers.yaml": text.encode()})


def as_file(name: str, data: Callable[[], bytes]) -> Callable[[Path, Files], None]:
    """A single file instead of a submission."""

    def make(path: Path, _files: Files) -> None:
        (path.parent / f"{path.name}{name}").write_bytes(data())

    return make


def linked(path: Path, _files: Files) -> None:
    """A capture that is a link to a file of the teacher's."""
    path.mkdir()
    (path / "capture.pcap").symlink_to("/etc/passwd")


def piped(path: Path, _files: Files) -> None:
    """A capture that never ends, and one that is a device."""
    path.mkdir()
    os.mkfifo(path / "capture.pcap")


def named_strangely(path: Path, files: Files) -> None:
    """Files with names that are not meant to be printed."""
    hand_in(path.parent, path.name, files | {f"{ESCAPE}{MARKUP}\n.txt": b"x"})


HOSTILE: dict[str, Callable[[Path, Files], None]] = {
    "gzip-bomb": as_file(".pcap.gz", bomb),
    "zip-bomb": as_file(".zip", lambda: zip_of([("capture.pcap", bytes(64 << 20))] * 8)),
    "overlaps": as_file(".zip", lambda: overlapping_zip(2000)),
    "million-members": as_file(".tar.gz", many_members),
    "climbs": as_file(".zip", lambda: zip_of([("../../../../tmp/tcp-lab-owned", b"x"), ("/tmp/tcp-lab-owned", b"x")])),
    "tar-climbs": as_file(".tar.gz", lambda: tarred({"../../tcp-lab-owned": b"x"})),
    "tar-link": as_file(".tar", lambda: tar_member("capture.pcap", tarfile.SYMTYPE, "/etc/passwd")),
    "tar-device": as_file(".tar", lambda: tar_member("capture.pcap", tarfile.CHRTYPE)),
    "nested": as_file(".zip", lambda: zipped({"a.zip": zipped({"capture.pcap": b"x"})})),
    "lies": as_file(".pcap", lambda: lying(0xFFFFFFFF)),
    "lies-less": as_file(".pcap", lambda: lying(200_000)),
    "one-line": as_file(
        ".txt", lambda: b"12:00:00.000000 IP 1.2.3.4.5 > 6.7.8.9.22: Flags [S], seq " + b"1" * (64 << 20)
    ),
    "gzip-in-gzip": as_file(".pcap.gz", lambda: gzip.compress(gzip.compress(bomb()))),
    "linked": linked,
    "piped": piped,
    "named": named_strangely,
    "aliases": hostile_answers(aliases().decode()),
    "python": hostile_answers("closer: !!python/object/apply:os.system ['touch /tmp/tcp-lab-owned']\n"),
    "markup": hostile_answers(
        f'closer: "{MARKUP}"\nkind_of_close: "{ESCAPE}"\n'.replace("\x1b", "\\e").replace("\x07", "\\a")
    ),
    "formula": hostile_answers("closer: '=HYPERLINK(\"http://x\")'\n"),
}


class _Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.found.add(tag)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Sixty honest ones, six copies of three, and twenty hostile ones, graded."""
    base = tmp_path_factory.mktemp("hostile")
    folder, rng = base / "submissions", seeded(77)
    folder.mkdir()
    made = [honest(rng) for _ in range(HONEST)]
    for number, files in enumerate(made):
        hand_in(folder, f"h{number:02}", files, ("folder", "zip", "tar.gz")[number % 3])
    for number in range(3):
        path = base / "source.pcap"
        path.write_bytes(made[number]["capture.pcap"])
        frames = good(path)
        answers = {"answers.yaml": made[number]["answers.yaml"]}
        changed = in_turn(readdressed(), retimed(10**9, 1.01))(frames)
        hand_in(folder, f"t{number}", {"capture.txt": listing(frames, "-n", "-S"), **answers})
        hand_in(folder, f"r{number}", {"capture.txt": listing(changed, "-n"), **answers})
    for name, make in HOSTILE.items():
        make(folder / name, honest(rng))
    return base / "out", grade(folder, base / "out")


def test_the_honest_have_their_marks(outcome: Outcome) -> None:
    found = gradebook(outcome[0])
    assert {found[f"h{number:02}"]["score"] for number in range(HONEST)} == {"120"}
    assert {found[f"h{number:02}"]["flags"] for number in range(3, HONEST)} == {""}
    assert len(found) == HONEST + 6 + len(HOSTILE)


def test_the_copies_are_found_and_no_others(outcome: Outcome) -> None:
    groups = json.loads((outcome[0] / "copies.json").read_text())["groups"]
    assert [group["students"] for group in groups] == [[f"h{n:02}", f"r{n}", f"t{n}"] for n in range(3)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_one_is_bounded_and_told(name: str, outcome: Outcome) -> None:
    """A line in its feedback says what is wrong; nothing of it is markup, or a terminal's command."""
    out, _ = outcome
    row = gradebook(out)[name]
    folder = out / "students" / name
    judged = name in {"named", "aliases", "python", "markup", "formula"}
    assert (row["outcome"] == "not-judged") is not judged, row
    document = results(out, name)
    feedback = (folder / "feedback.md").read_text(encoding="utf-8")
    if judged:
        assert row["score"] in {"100", "120"}
        assert name == "named" or "answers.yaml" in feedback or "the answer is" in feedback
    else:
        assert document["cause"]
        assert "\n" not in document["cause"]
    page = (folder / "feedback.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(page)
    assert not tags.found & {"script", "img", "a", "iframe", "object", "svg"}
    for text in (
        feedback,
        page,
        (folder / "junit.xml").read_text(encoding="utf-8"),
        json.dumps(document, ensure_ascii=False),
    ):
        assert "\x1b" not in text
        assert "\x07" not in text


def test_nothing_is_outside(outcome: Outcome) -> None:
    """Not written, not executed; and what is inside is plain files for the teacher alone."""
    out, done = outcome
    assert not list(Path("/tmp").glob("tcp-lab-owned*"))
    assert not (out.parent / "tcp-lab-owned").exists()
    assert {path.name for path in out.parent.iterdir()} == {"submissions", "out", "source.pcap"}
    for path in out.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or stat.S_ISREG(mode)
        assert stat.S_IMODE(mode) & 0o077 == 0 or stat.S_ISDIR(mode)
    assert "root:" not in "".join(path.read_text() for path in out.glob("students/*/*.md"))
    assert "\x1b" not in done.stdout + done.stderr


def test_the_gradebook_is_no_formula(outcome: Outcome) -> None:
    for line in (outcome[0] / "gradebook.csv").read_text().splitlines():
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in line.split(","))
