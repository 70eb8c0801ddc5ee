"""Nonces, the secret they are made with, and assignments."""

import base64
import hashlib
import hmac
import os
from pathlib import Path

import pytest
import yaml

from harness.errors import HarnessError
from harness.grading.nonces import Assignment, find_nonces, nonce, plain_yaml, read_assignment, read_secret

SECRET = b"0123456789abcdef"
GIVEN = Assignment("tcp-lab", "handshake", "ada", nonce(SECRET, "tcp-lab", "handshake", "ada"))


def test_a_nonce_is_the_documented_hmac() -> None:
    """HMAC-SHA-256 over length-prefixed fields, 130 bits of it in base32; never another, or all assignments change."""
    words = (b"tcp-lab/nonce/v1", b"c", b"handshake", "é".encode())
    message = b"".join(len(word).to_bytes(8, "big") + word for word in words)
    digest = hmac.new(SECRET, message, hashlib.sha256).digest()
    made = nonce(SECRET, "c", "handshake", "é")
    assert made == "tcp-lab-" + base64.b32encode(digest).decode().lower()[:26]
    assert GIVEN.nonce == "tcp-lab-cwumnal6jscbrjsp7ghcqsr5la"


def test_each_field_counts() -> None:
    """Another secret, course, lab or student has another nonce; so has the same text cut elsewhere into fields."""
    made = {
        nonce(secret, *fields)
        for secret in (SECRET, SECRET + b"x")
        for fields in (("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("", "abc", "d"), ("ab", "c", "e"))
    }
    assert len(made) == 10


def test_it_fits_an_ssh_banner() -> None:
    """One printable word of 34 characters; with the longest name that sshd gives itself below RFC 4253's 255."""
    assert GIVEN.nonce.isascii()
    assert GIVEN.nonce.isprintable()
    assert " " not in GIVEN.nonce
    assert len(GIVEN.nonce) == 34


@pytest.mark.parametrize(
    ("banner", "found"),
    [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2 {ada}\r\n", ["ada"]),
        ("SSH-2.0-OpenSSH_9.2p1 {ada} {bob} {ada}\r\n", ["ada", "bob"]),
        ("{ada}", ["ada"]),
        ("SSH-2.0-x{ada}\r\n", []),
        ("SSH-2.0-x {ada}x\r\n", []),
        ("SSH-2.0-x {ada}.\r\n", []),
        ("SSH-2.0-x TCP-LAB-AAAAAAAAAAAAAAAAAAAAAAAAAA\r\n", []),
        ("SSH-2.0-x tcp-lab-11111111111111111111111111\r\n", []),
        ("", []),
    ],
)
def test_nonces_are_found_as_words(banner: str, found: list[str]) -> None:
    """In order, each once, and nothing that only looks like one."""
    known = {name: nonce(SECRET, "c", "l", name) for name in ("ada", "bob")}
    assert find_nonces(banner.format(**known).encode()) == tuple(known[name] for name in found)


def test_no_bytes_are_too_strange_or_too_many() -> None:
    """Bytes that are no text, and more of them than any banner has."""
    assert find_nonces(b"\xff\0\xfe " + GIVEN.nonce.encode() + b"\0") == (GIVEN.nonce,)
    assert find_nonces(b" " * (1 << 20) + GIVEN.nonce.encode()) == ()


# -- the secret ------------------------------------------------------------------------------------------------------


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_secret_without_the_end_of_its_line(tmp_path: Path, end: bytes) -> None:
    """An editor's line end makes no other secret."""
    assert read_secret(secret_file(tmp_path, b" secret of 16 b " + end)) == b" secret of 16 b "


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """One line with the chmod that mends it, and nothing of the secret."""
    path = secret_file(tmp_path, b"do not tell anybody", mode)
    with pytest.raises(HarnessError, match=f"chmod 600 {path}") as raised:
        read_secret(path)
    assert "anybody" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "has 0 bytes"), (b"hunter2hunter2!\n", "has 15 bytes"), (b"hunter2" * 1000, "longer than 4096")],
)
def test_a_secret_of_a_wrong_length_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """One line, and nothing of the secret."""
    with pytest.raises(HarnessError, match=why) as raised:
        read_secret(secret_file(tmp_path, content))
    assert "hunter2" not in str(raised.value)


def test_no_secret(tmp_path: Path) -> None:
    """Not there, or a folder: one line."""
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(HarnessError, match="cannot read the secret"):
            read_secret(path)


# -- assignments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("student", ["ada", "123", "no", "a: b # c", "'", "Ада", "ada@x.example", "~", "*a"])
def test_an_assignment_is_read_as_it_was_written(tmp_path: Path, student: str) -> None:
    """Also ids that YAML would take for something else than text; anybody's YAML reader reads the same."""
    given = Assignment("a course", "handshake", student, GIVEN.nonce)
    path = tmp_path / "assignment.yaml"
    path.write_text(given.to_yaml(), encoding="utf-8")
    assert read_assignment(path) == given
    document = yaml.safe_load(given.to_yaml())
    assert document["schema"] == "tcp-lab/assignment/v1"
    assert document["student"] == student
    assert "./invoke run --lab handshake --assignment assignment.yaml" in document["instructions"]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("tcp-lab/assignment/v1", "tcp-lab/assignment/v2", "not an assignment"),
        ("nonce: tcp-lab-", "nonce: tcp-lab-x\n# ", "nonce: expected tcp-lab-"),
        ("nonce: tcp-lab-", 'nonce: "x\\nPermitRootLogin yes\\n', "(nonce|YAML)"),
        ("nonce: ", "no: ", "nonce: expected"),
        ("student: ada", "student: [ada]", ":4: .*expected a plain text"),
        ("student: ada", "student: ''", "student: expected a text"),
        ("student: ada", "student: " + "a" * 101, "student: expected a text"),
        ("student: ada", 'student: "a\\e[31m"', "student: expected a text"),
        ("course: ", "# ", "course: expected a text"),
        ("lab: handshake", "lab: {a: b}", ":3: .*expected a plain text"),
        ("student: ada", "student: &a ada\nstudents: *a", ":5: .*expected a plain text"),
        ("student: ada", "student: ada\nstudent: bob", ":5: .*twice"),
        ("student: ada", "? [a]\n: b", ":4: .*expected a plain text"),
        ("student: ada", "student: ada\n\tx: y", "YAML"),
        ("student: ada", "student: " + "[" * 15_000, "YAML"),
        ("student: ada", "student: ada\n#" + "x" * 17_000, "larger than 16 KiB"),
    ],
)
def test_what_is_no_assignment_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    """One printable line that names the file."""
    path = tmp_path / "assignment.yaml"
    text = GIVEN.to_yaml()
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(HarnessError, match=why) as raised:
        read_assignment(path)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"- a\n", b"ada", b"\xff\xfe", b"a: b\n---\nc: d\n", b"\0", b"!!int ''"])
def test_no_mapping_is_refused(content: bytes) -> None:
    """Whatever else YAML can be, or bytes that are no text."""
    with pytest.raises(HarnessError, match=r"^answers:(\d+:)? "):
        plain_yaml(content, "answers")


def test_no_file(tmp_path: Path) -> None:
    """Not there, or a folder: one line."""
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(HarnessError, match="cannot read the assignment"):
            read_assignment(path)


def test_scalars_are_text(tmp_path: Path) -> None:
    """No tag makes anything else of them: nothing is executed, nothing is converted."""
    marker = tmp_path / "executed"
    said = plain_yaml(f"a: 12\nb: !!python/object/apply:os.mkdir '{marker}'\nc: 2020-01-01".encode(), "x")
    assert said == {"a": "12", "b": str(marker), "c": "2020-01-01"}
    assert not os.path.lexists(marker)
