"""What harness.intake promises of an archive: what is safe in it, a line for what is not, and bounds on both."""

import bz2
import gzip
import io
import lzma
import os
import socket
import struct
import tarfile
import tracemalloc
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.intake.archives import Piece, open_bytes, open_pieces, open_submission
from harness.intake.contents import PROBLEM_LINES, Contents, Limits, content_hash
from harness.intake.names import student_name, unique_names
from harness.intake.unpacking import Unpacked
from tests.unit.intake_files import (
    CAPTURE,
    FIFO_MODE,
    FOLDER_MODE,
    LINK_MODE,
    overlapping_zip,
    streamed_zip,
    tar_member,
    tar_of,
    write,
    zip64_of,
    zip_of,
)

FILES = [("capture.pcap", CAPTURE), ("answers.yaml", b"a: 1\n"), ("run/deep/run.json", b"{}")]
SMALL = Limits(members=20, total_bytes=1 << 20, file_bytes=1 << 19, path_length=100, depth=4)


def only_problem(contents: Contents) -> str:
    """The one line about it."""
    assert len(contents.problems) == 1, contents.problems
    return contents.problems[0]


# Whole archives


@pytest.mark.parametrize(
    "data",
    [
        zip_of(FILES),
        zip_of(FILES, method=zipfile.ZIP_STORED),
        streamed_zip(FILES),
        b"#!/bin/sh\nexit\n" + zip_of(FILES),
        zip_of(FILES)[:-2] + b"\x05\x00notes",
        *(tar_of(FILES, how) for how in ("", "gz", "bz2", "xz")),
        *(tar_of(FILES, "", form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT)),
        gzip.compress(tar_of(FILES)[:700]) + gzip.compress(tar_of(FILES)[700:]),
        bz2.compress(tar_of(FILES)[:700]) + bz2.compress(tar_of(FILES)[700:]),
    ],
    ids=["zip", "stored", "streamed", "prefixed", "comment", "tar", "tgz", "tbz", "txz", "ustar", "gnu", "2gz", "2bz2"],
)
def test_every_kind_of_archive(tmp_path: Path, data: bytes) -> None:
    """The same files come out of each, from its bytes and from its file; the hash is that of the files."""
    path = tmp_path / "alice.zip"
    path.write_bytes(data)
    assert open_submission(path) == open_bytes("alice.zip", data) == Contents(dict(FILES), ())
    assert list(tmp_path.iterdir()) == [path]  # nothing was written


def test_a_folder(tmp_path: Path) -> None:
    """The same from a folder."""
    assert open_submission(write(tmp_path, dict(FILES))) == Contents(dict(FILES), ())


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names_in_a_tar(form: int) -> None:
    """By pax headers, by GNU's, and by ustar's prefix."""
    files = [(f"{'d' * 60}/{'e' * 60}/capture.pcap", CAPTURE), ("übung.txt", b"x")]
    assert open_bytes("a.tar", tar_of(files, "", form)) == Contents(dict(files), ())


@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n"])
def test_zip64_numbers_are_read(before: bytes) -> None:
    """An archive may have them though it is small; so may one that is cut off."""
    data = zip64_of("capture.pcap", CAPTURE)
    assert open_bytes("a.zip", before + data) == Contents({"capture.pcap": CAPTURE}, ())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("capture.pcap") == CAPTURE  # the test's own archive is a good one
    assert open_bytes("a.zip", data[:-1]).files == {"capture.pcap": CAPTURE}


def test_a_single_file_stays_as_it_is(tmp_path: Path) -> None:
    """Be it a capture, a compressed capture, or a document that is a zip inside."""
    for name, data in (("a.pcap", CAPTURE), ("a.pcap.gz", gzip.compress(CAPTURE)), ("a.docx", zip_of(FILES))):
        (tmp_path / name).write_bytes(data)
        assert open_submission(tmp_path / name) == Contents({name: data}, ())


def test_one_folder_that_wraps_all_is_left_out() -> None:
    """Once, and only if it holds all."""
    assert set(open_bytes("a.zip", zip_of([("lab/x/a", b""), ("lab/x/b", b"")])).files) == {"x/a", "x/b"}
    assert set(open_bytes("a.zip", zip_of([("lab/a", b""), ("b", b"")])).files) == {"lab/a", "b"}


def test_droppings_are_left_out_silently(tmp_path: Path) -> None:
    """What macOS and Windows leave there is not the student's; a folder around the rest is still left out."""
    names = ["__MACOSX/lab/._a.pcap", "lab/.DS_Store", "lab/._a.pcap", "lab/Thumbs.db", "lab/desktop.ini"]
    files = [(name, b"x") for name in names] + [("lab/a.pcap", CAPTURE)]
    for contents in (
        open_bytes("a.zip", zip_of(files)),
        open_bytes("a.tgz", tar_of(files, "gz")),
        open_submission(write(tmp_path, dict(files))),
    ):
        assert contents == Contents({"a.pcap": CAPTURE}, ())


def test_a_folder_member_is_no_file() -> None:
    """Whether its name or its mode says so."""
    assert (
        only_problem(open_bytes("a.zip", zip_of([("lab/", b""), ("x", b"")], FOLDER_MODE))) == "no file was handed in"
    )
    assert set(open_bytes("a.tar", tar_member("lab", tarfile.DIRTYPE)).files) == set()


def test_an_archive_in_a_folder_is_opened_and_one_in_an_archive_is_not(tmp_path: Path) -> None:
    """Platforms put the student's zip into a folder; a zip in a zip is kept, with a line."""
    inner = zip_of([("lab/capture.pcap", CAPTURE)])
    outer = zip_of([("notes", b"x"), ("inner.zip", inner)])
    contents = open_submission(write(tmp_path, {"lab.zip": outer, "answers.yaml": b"a: 1"}))
    assert contents.files == {"lab/notes": b"x", "lab/inner.zip": inner, "answers.yaml": b"a: 1"}
    assert only_problem(contents).startswith("inner.zip: is an archive in an archive, which is not opened; ")


@pytest.mark.parametrize("begin", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\0", b"\x28\xb5\x2f\xfd"])
def test_foreign_archives_have_a_line(begin: bytes) -> None:
    """They are kept, not opened."""
    contents = open_bytes("a.zip", zip_of([("lab.bin", begin), ("x", b"")]))
    assert contents.files["lab.bin"] == begin
    assert only_problem(contents).endswith("which is not opened; hand in a zip")


# Names


@pytest.mark.parametrize(
    "name",
    ["../a", "x/../../a", "..\\a", "x/..", "/etc/passwd", "\\a", "C:\\a", "c:a", "\\\\host\\a", "./C:/a", "x/C:a"],
)
def test_paths_that_lead_elsewhere_are_left_out(name: str) -> None:
    """In zip and tar alike."""
    for contents in (
        open_bytes("a.zip", zip_of([(name, b"x"), ("y", b"y")])),
        open_bytes("a.tar", tar_of([(name, b"x"), ("y", b"y")])),
    ):
        assert contents.files == {"y": b"y"}
        assert "its path " in only_problem(contents)


def test_backslashes_separate_folders() -> None:
    """As old Windows programs write them."""
    assert open_bytes("a.zip", zip_of([("x\\a.pcap", b"x"), ("b", b"y")])).files == {"x/a.pcap": b"x", "b": b"y"}


def test_names_with_controls_are_made_printable() -> None:
    """In the paths and in the lines: newline, escape, bidi override, half pair."""
    ugly = "a\n\x1b[31m\u202e\u2028b"
    contents = open_bytes("a.zip", zip_of([(ugly, b"x"), (ugly, b"y"), ("../" + ugly, b"z")]))
    assert contents.files == {"a__[31m__b": b"x"}
    assert len(contents.problems) == 2
    for line in contents.problems:
        assert line.isprintable()
    assert open_bytes("a.tar", tar_of([(os.fsdecode(b"\xff.pcap"), b"x")])).files == {"_.pcap": b"x"}


def test_names_of_old_code_pages_and_of_macos() -> None:
    """Without the flag UTF-8 is taken for itself; what is no UTF-8 is code page 437."""
    data = zip_of([("aXY", b"x")])
    assert set(open_bytes("a.zip", data.replace(b"aXY", "aé".encode())).files) == {"aé"}
    assert set(open_bytes("a.zip", data.replace(b"aXY", b"a\x82Y")).files) == {"aéY"}
    assert set(open_bytes("a.zip", zip_of([(unicodedata.normalize("NFD", "é"), b"x")])).files) == {"é"}


@pytest.mark.parametrize("name", ["x" * 101, "a/" * 5 + "b", "x" * 60_000])
def test_long_and_deep_paths_are_left_out(name: str) -> None:
    """One within the limits is not."""
    contents = open_bytes("a.zip", zip_of([(name, b"x"), ("y" * 100, b"y"), ("a/b/c/d/z", b"z")]), SMALL)
    assert set(contents.files) == {"y" * 100, "a/b/c/d/z"}
    assert len(only_problem(contents)) <= 300


def test_of_two_with_one_name_the_first_counts() -> None:
    """Also if only their normal forms are equal."""
    data = zip_of(
        [("é", b"1"), (unicodedata.normalize("NFD", "é"), b"2"), ("./é", b"3"), ("x//y", b"4"), ("x/y", b"5")]
    )
    contents = open_bytes("a.zip", data)
    assert contents.files == {"é": b"1", "x/y": b"4"}
    assert len(contents.problems) == 3
    assert contents.problems[0].endswith("is there more than once; the first counts")


_ODD = st.text(st.sampled_from("ab./\\:\n\x1b\u202e\u0301é\0-~C"), max_size=12) | st.text(max_size=30)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(_ODD, max_size=6), as_tar=st.booleans())
def test_whatever_the_names_paths_stay_inside(names: list[str], as_tar: bool) -> None:
    """Every path is relative, printable, in NFC, and climbs nowhere; every line is printable."""
    pairs = [(name.encode("utf-8", "replace").decode(), b"x") for name in names]
    data = tar_of(pairs) if as_tar else zip_of(pairs)
    contents = open_bytes("a", data, SMALL)
    for path in contents.files:
        assert path
        assert path.isprintable()
        assert unicodedata.is_normalized("NFC", path)
        assert "\\" not in path
        assert not {"", ".", ".."} & set(path.split("/"))
        assert path[1:2] != ":" or not path[0].isascii() or not path[0].isalpha()
        assert len(path) <= SMALL.path_length
    for line in contents.problems:
        assert line.isprintable()
        assert len(line) <= 300


# Links and other kinds


@pytest.mark.parametrize("mode", [LINK_MODE, FIFO_MODE, 0o020666, 0o140777])
def test_links_and_devices_in_a_zip(mode: int) -> None:
    """Their bytes are no file."""
    contents = open_bytes("a.zip", zip_of([("x", b"/etc/passwd")], mode))
    assert not contents.files
    what = "a symbolic link, which is not followed" if mode == LINK_MODE else "neither a file nor a folder"
    assert contents.problems == ("no file is left", f"x: is {what}")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"Q"]
)
def test_links_and_devices_in_a_tar(kind: bytes) -> None:
    """None is followed or made."""
    contents = open_bytes("a.tar", tar_member("x", kind, "/etc/passwd"))
    assert not contents.files
    assert any(line.startswith("x: is ") for line in contents.problems)


def test_links_and_devices_in_a_folder(tmp_path: Path) -> None:
    """No link is followed, and to meet a fifo does not wait."""
    secret = write(tmp_path / "secret", {"key": b"secret"})
    folder = write(tmp_path / "alice", {"capture.pcap": CAPTURE})
    (folder / "file").symlink_to(secret / "key")
    (folder / "folder").symlink_to(secret)
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    (folder / "locked").write_bytes(b"x")
    contents = open_submission(folder)
    assert contents.files == {"capture.pcap": CAPTURE, "locked": b"x"}
    assert contents.problems == (
        "fifo: is neither a file nor a folder",
        "file: is a symbolic link, which is not followed",
        "folder: is a symbolic link, which is not followed",
        "socket: is neither a file nor a folder",
    )


def test_what_cannot_be_opened_at_all(tmp_path: Path) -> None:
    """One line that begins with the path."""
    write(tmp_path, {"real": b"x", "cut.zip": zip_of(FILES)[:20]})
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link-to-folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    for name, why in {
        "none": "cannot be read: No such file or directory",
        "link": "is a symbolic link, which is not followed",
        "link-to-folder": "is a symbolic link, which is not followed",
        "fifo": "is neither a file nor a folder",
        "cut.zip": "the zip archive is cut off; hand it in again",
    }.items():
        with pytest.raises(HarnessError) as caught:
            open_submission(tmp_path / name)
        assert str(caught.value).endswith(f"{name}: {why}")


def test_a_folder_of_many_names_is_read_in_their_order(tmp_path: Path) -> None:
    """What is left out does not depend on the file system."""
    write(tmp_path, {f"{number:02}": b"x" for number in range(30)})
    contents = open_submission(tmp_path, SMALL)
    assert set(contents.files) == {f"{number:02}" for number in range(20)}
    assert only_problem(contents) == "more than 20 files and folders; what follows was left out"


def test_a_deep_folder_is_not_entered(tmp_path: Path) -> None:
    """Beyond the limit nothing is opened."""
    contents = open_submission(write(tmp_path, {"a/b/c/d/e/f": b"x", "y": b"y"}), SMALL)
    assert contents.files == {"y": b"y"}
    assert only_problem(contents) == "a/b/c/d/e: it stands in more than 4 folders"


# Bombs


def peak_of(data: bytes, limits: Limits) -> tuple[Contents, int]:
    """What opening it gives, and the most bytes it held."""
    tracemalloc.start()
    try:
        contents = open_bytes("a.zip", data, limits)
        return contents, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def lying_zip(size: int) -> bytes:
    """A zip whose member claims to be small."""
    data = bytearray(zip_of([("bomb", bytes(size)), ("y", b"y")]))
    for at in (22, data.index(b"PK\1\2") + 24):
        assert struct.unpack_from("<L", data, at) == (size,)
        struct.pack_into("<L", data, at, 10)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [lying_zip(60 << 20), tar_of([("bomb", bytes(60 << 20))], "gz"), tar_of([("bomb", bytes(60 << 20))], "bz2")],
    ids=["zip", "tar.gz", "tar.bz2"],
)
def test_a_bomb_is_held_nowhere(data: bytes) -> None:
    """Of 60 MiB of zeros no more than the limit comes out, whatever the archive claims."""
    contents, peak = peak_of(data, Limits(total_bytes=4 << 20, file_bytes=2 << 20))
    assert "bomb" not in contents.files
    assert any(line.startswith("bomb: is larger than 2 MiB; ") for line in contents.problems)
    assert peak < 16 << 20


def test_the_budget_counts_what_is_not_kept_too() -> None:
    """Many files that are each too large cost no more than the budget."""
    files = [(f"{number:02}", bytes(300_000)) for number in range(12)]
    data = zip_of(files)
    contents = open_bytes("a.zip", data, Limits(total_bytes=1 << 20, file_bytes=1 << 19))
    assert set(contents.files) == {"00", "01", "02"}
    assert "more than 1 MiB in all; what follows was left out" in contents.problems
    liar = bytearray(lying_zip(1 << 20))
    contents = open_bytes("a.zip", bytes(liar), Limits(total_bytes=1000, file_bytes=500))
    assert not contents.files


def test_an_honest_claim_is_believed_without_reading() -> None:
    """A member that says that it is too large costs nothing of the budget."""
    data = zip_of([("big", bytes(5000)), ("y", bytes(900))])
    assert set(open_bytes("a.zip", data, Limits(total_bytes=1000, file_bytes=1000)).files) == {"y"}


def test_entries_that_overlap() -> None:
    """The first is read, the others are refused: they multiply what a small file holds."""
    contents = open_bytes("a.zip", overlapping_zip(5))
    assert set(contents.files) == {"0000000"}
    assert len(contents.problems) == 4
    assert all(line.endswith("overlaps another member; zip the files anew") for line in contents.problems)


def test_very_many_members() -> None:
    """The directory is read no further than the limit."""
    contents, peak = peak_of(overlapping_zip(100_000), SMALL)
    assert set(contents.files) == {"0000000"}
    assert any(line.startswith("a.zip: more than 20 files and folders") for line in contents.problems)
    assert peak < 1 << 20
    many = tar_of([(f"{number}", b"") for number in range(50)], "gz", tarfile.USTAR_FORMAT)
    assert set(open_bytes("a", many, SMALL).files) == {f"{number}" for number in range(20)}


def test_the_lines_are_bounded() -> None:
    """Twenty, and how many more; sorted, so that the order in the archive does not matter."""
    names = [f"../{number:03}" for number in range(90)]
    forth, back = (open_bytes("a", zip_of((name, b"") for name in order)) for order in (names, names[::-1]))
    assert forth == back
    assert len(forth.problems) == PROBLEM_LINES + 1
    assert forth.problems[-1] == "… and 71 more"


def test_a_long_extended_header_is_not_held() -> None:
    """A pax header of megabytes is passed over, and its member is left out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"comment": "c" * (1 << 20)}
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("y"))
    contents = open_bytes("a.tar", out.getvalue())
    assert set(contents.files) == {"y"}
    assert only_problem(contents) == "x: has a header that is too large"


# Damage


def test_encrypted_members() -> None:
    """What to do is said."""
    data = bytearray(zip_of([("x", b"x")]))
    for at in (6, data.index(b"PK\1\2") + 8):
        data[at] |= 1
    assert "x: is encrypted; hand it in without a password" in open_bytes("a.zip", bytes(data)).problems


def test_other_methods_are_named() -> None:
    """LZMA is number 14."""
    contents = open_bytes("a.zip", zip_of([("x", b"x")], method=zipfile.ZIP_LZMA))
    assert "x: is compressed by method 14, which is not read; zip it anew in the ordinary way" in contents.problems


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_is_damaged_is_left_out(method: int) -> None:
    """Its bytes are not the student's; the others are."""
    data = bytearray(zip_of([("x", b"0123456789" * 9), ("y", b"y")], method=method))
    data[36] ^= 0x55
    contents = open_bytes("a.zip", bytes(data))
    assert contents.files == {"y": b"y"}
    assert only_problem(contents) == "x: is damaged in the archive; hand it in again"


def test_a_wrong_checksum_alone_is_damage() -> None:
    """Though the bytes come out whole."""
    data = bytearray(zip_of([("x", b"x"), ("y", b"y")]))
    data[data.index(b"PK\1\2") + 16] ^= 1
    assert open_bytes("a.zip", bytes(data)).files == {"y": b"y"}


@pytest.mark.parametrize("make", [zip_of, streamed_zip])
def test_a_zip_that_is_cut_off(make: Any) -> None:
    """Members that are whole are kept, at every cut, and a line says what happened."""
    files = [("a", os.urandom(300)), ("b", b"b" * 500), ("c", b"c")]
    data = make(files)
    seen = set()
    for cut in range(40, len(data), 7):
        try:
            contents = open_bytes("x.zip", data[:cut])
        except HarnessError as error:
            assert str(error) == "x.zip: the zip archive is cut off; hand it in again"  # noqa: PT017
            continue
        assert any("cut off" in line for line in contents.problems)
        assert contents.files == dict(files[: len(contents.files)])
        seen.add(len(contents.files))
    assert seen == {0, 1, 2, 3}


def test_a_tar_that_is_cut_off() -> None:
    """What stands before the cut is kept, compressed or not."""
    files = [("a", b"a" * 600), ("b", b"b" * 600), ("c", b"c" * 600)]
    for data in (tar_of(files, form=tarfile.USTAR_FORMAT)[: 512 * 5], gzip.compress(tar_of(files)[: 512 * 5])):
        contents = open_bytes("x", data)
        assert contents.files == {"a": b"a" * 600}
        assert contents.problems == (
            "b: is cut off; hand the archive in again",
            "x: the tar archive is cut off; hand it in again",
        )
    packed = tar_of([("a", b"a"), ("b", os.urandom(9000))], "gz")
    assert set(open_bytes("x", packed[:-4000]).files) == {"a"}


def test_a_tar_that_is_damaged_in_a_header() -> None:
    """It is read up to there."""
    data = bytearray(tar_of([("a", b"a"), ("b", b"b")], form=tarfile.USTAR_FORMAT))
    data[1024 + 3] ^= 1
    contents = open_bytes("x", bytes(data))
    assert contents.files == {"a": b"a"}
    assert only_problem(contents) == "x: the tar archive is damaged; what follows was left out"


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 2000),
    kind=st.sampled_from(["zip", "streamed", "tar", "gz", "xz"]),
)
def test_any_damage_is_told(changes: list[tuple[int, int]], cut: int, kind: str) -> None:
    """No other exception than HarnessError, whatever bytes are changed or cut off."""
    made = {"zip": zip_of, "streamed": streamed_zip, "tar": tar_of}
    data = bytearray(made[kind](FILES) if kind in made else tar_of(FILES, kind))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        contents = open_bytes("a.zip", bytes(data[: max(1, len(data) - cut)]), SMALL)
    except HarnessError as error:
        assert str(error).isprintable()  # noqa: PT017
        return
    assert all(line.isprintable() for line in contents.problems)


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=600),
    begin=st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]),
)
def test_random_bytes(data: bytes, begin: bytes) -> None:
    """They are a file, or an archive that is damaged."""
    try:
        contents = open_bytes("a.zip", begin + data, SMALL)
    except HarnessError:
        return
    assert contents.files or contents.problems


# The hash


def test_the_hash_is_of_the_files_in_any_order() -> None:
    """Zip or tar, forth or back: one hash; another byte, name, file or line: another."""
    one = content_hash(open_bytes("a.zip", zip_of(FILES)))
    assert one == content_hash(open_bytes("b.tgz", tar_of(FILES[::-1], "gz")))
    assert len(one) == 64
    others = [
        Contents({"capture.pcap": b"x"}),
        Contents({"capture.pcap": b"y"}),
        Contents({"capture.pca": b"px"}),
        Contents({"capture.pcap": b"x"}, ("x",)),
        Contents({"capture.pcap": b"x", "x": b""}),
        Contents({}),
    ]
    assert len({one, *map(content_hash, others)}) == 7


# Students' names


def test_students_names_may_be_folders() -> None:
    """Printable, no separators, no dots at the ends, no option."""
    for name, wanted in {
        "Zoë Müller": "Zoë Müller",
        " a\tb\n": "a_b_",
        "..": "unnamed",
        ".": "unnamed",
        "": "unnamed",
        "../../etc": "_.._etc",
        "-rf": "_rf",
        "a/b\\c:d": "a_b_c_d",
        "\x1b[31mred": "_[31mred",
        ".hidden": "hidden",
    }.items():
        assert student_name(name) == wanted


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_ODD | st.text(st.sampled_from("aA😀"), max_size=150), st.sampled_from(["", "", "7", "77"]))))
def test_students_names_are_safe_and_unique(wanted: list[tuple[str, str]]) -> None:
    """Also where upper and lower case are one."""
    names = unique_names((student_name(name), number) for name, number in wanted)
    assert len({name.casefold() for name in names}) == len(names) == len(wanted)
    for name in names:
        assert 0 < len(name) <= 100
        assert len(name.encode()) <= 255
        assert name.isprintable()
        assert not set('/\\:*?"<>|') & set(name)
        assert name not in (".", "..")
        assert name[0] not in "-. "


def test_a_shared_name_gets_the_platforms_number() -> None:
    """Neither of the two is the bare name then; without numbers they are counted."""
    assert unique_names([("Jane", "12"), ("jane", "34"), ("Joe", "")]) == ["Jane-12", "jane-34", "Joe"]
    assert unique_names([("a", ""), ("a", ""), ("a-3", ""), ("a", "")]) == ["a", "a-2", "a-3", "a-4"]


# Corners of the formats


def tar_with(pax: dict[str, str], size: int, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar of "x" with a pax header, a claimed size and these bytes, and of "y"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers, info.size, info.type = pax, size, kind
        out.write(info.tobuf(tarfile.PAX_FORMAT) + data.ljust(-(-len(data) // 512) * 512, b"\0"))
        archive.offset = out.tell()
        archive.addfile(tarfile.TarInfo("y"))
    return out.getvalue()


def test_a_pax_header_may_give_the_size() -> None:
    """It is the one that counts."""
    assert open_bytes("a.tar", tar_with({"size": "5"}, 0, b"12345")).files == {"x": b"12345", "y": b""}


def test_a_sparse_file_is_refused() -> None:
    """Its bytes in the archive are not its bytes."""
    contents = open_bytes("a.tar", tar_with({"GNU.sparse.major": "1"}, 5, b"12345"))
    assert contents == Contents({"y": b""}, ("x: is stored as a sparse file, which is not read; hand in a zip",))


def test_a_link_has_no_bytes_whatever_it_claims() -> None:
    """What follows it is found."""
    assert set(open_bytes("a.tar", tar_with({}, 600, b"", tarfile.LNKTYPE)).files) == {"y"}


def test_a_size_beyond_all_measure_is_damage() -> None:
    """In binary a tar may claim anything."""
    data = bytearray(tar_of([("a", b""), ("b", b"")], form=tarfile.USTAR_FORMAT))
    data[512 + 124 : 512 + 136] = b"\x80" + b"\xff" * 11
    header = data[512:1024]
    data[512 + 148 : 512 + 156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    contents = open_bytes("x", bytes(data))
    assert contents == Contents({"a": b""}, ("x: the tar archive is damaged; what follows was left out",))


def test_what_is_passed_over_costs_too() -> None:
    """A member that is not read must be decompressed all the same."""
    data = gzip.compress(tar_with({}, 20 << 20, bytes(20 << 20), b"Q"))
    contents = open_bytes("a.tgz", data, SMALL)
    assert not contents.files
    assert "a.tgz: the archive is too large when decompressed; what follows was left out" in contents.problems


def test_streams_that_hold_nothing_cost_too() -> None:
    """What goes in is bounded as what comes out."""
    source = io.BytesIO(gzip.compress(b"") * 1000)
    assert Unpacked(source.read, b"\x1f\x8b", 500).read(1) == b""
    assert source.tell() <= 500


def test_an_xz_that_wants_much_memory_is_not_unpacked() -> None:
    """A dictionary of 4 GiB; such a file stays what it is."""
    data = bytearray(lzma.compress(tar_of(FILES)))
    end = 12 + 4 * data[12]  # of the block header: it is followed by its checksum
    assert data[14:16] == b"\x21\x01"  # LZMA2, with one byte for the dictionary's size
    data[16] = 40
    data[end : end + 4] = zlib.crc32(data[12:end]).to_bytes(4, "little")
    assert open_bytes("a.tar.xz", bytes(data)).files == {"a.tar.xz": bytes(data)}


def test_a_zip_that_is_cut_off_may_be_a_bomb() -> None:
    """Where its members end must be found by decompressing; that is bounded for all of them together."""
    data = streamed_zip([(f"{number}", bytes(300_000)) for number in range(9)])[:-1]
    contents = open_bytes("a.zip", data, Limits(total_bytes=1 << 20))
    assert set(contents.files) == {"0", "1", "2"}
    assert "3: is too large" in contents.problems


def test_one_piece_that_cannot_be_opened_leaves_the_others(tmp_path: Path) -> None:
    """It has a line."""
    write(tmp_path, {"a.pcap": CAPTURE})
    (tmp_path / "link").symlink_to("a.pcap")
    contents = open_pieces([Piece(tmp_path / "link"), Piece(tmp_path / "a.pcap", "capture.pcap")], Limits())
    assert contents.files == {"capture.pcap": CAPTURE}
    assert only_problem(contents).endswith("link: is a symbolic link, which is not followed")


def test_names_of_archives_lead_nowhere(tmp_path: Path) -> None:
    """An archive in a folder becomes a folder; two files with one path are told of."""
    inner = zip_of([("capture.pcap", CAPTURE)])
    files = {"...zip": inner, "lab.zip": inner, "lab/capture.pcap": b"x", "y": b""}
    contents = open_submission(write(tmp_path, files))
    assert contents.files == {"archive/capture.pcap": CAPTURE, "lab/capture.pcap": b"x", "y": b""}
    assert only_problem(contents) == "lab/capture.pcap: is there more than once; the first counts"
    assert open_bytes("../x.pcap", CAPTURE).files == open_bytes("..\\x.pcap", CAPTURE).files == {"x.pcap": CAPTURE}
