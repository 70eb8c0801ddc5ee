"""Nonces and assignments: what shows, on the wire or in run.json, whose run it was."""

import base64
import hmac
import os
import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from harness.errors import HarnessError, one_line

SCHEMA = "tcp-lab/assignment/v1"
DEFAULT_COURSE = "tcp-lab"
MIN_SECRET, MAX_SECRET = 16, 4096  # bytes
MAX_YAML = 16 << 10  # bytes
MAX_BANNER = 64 << 10  # bytes
_LETTERS = 26  # of base32: 130 bits
_NONCE = re.compile(rf"tcp-lab-[a-z2-7]{{{_LETTERS}}}")
# A word of its own: sshd puts a space before VersionAddendum's text (sshd_config(5)).
_IN_BANNER = re.compile(rb"(?<![!-~])" + _NONCE.pattern.encode() + rb"(?![!-~])")


def nonce(secret: bytes, course: str, lab: str, student: str) -> str:
    """A student's nonce for a lab: 34 characters, which nobody can make without the secret.

    HMAC-SHA-256 (RFC 2104) over the three fields, each with its length before it, so that no two triples are the same
    message. Its first 130 bits in base32 (RFC 4648 §6: neither 0, 1 nor 8), in lower case: one word that can be read
    out, and that leaves an SSH banner far below its 255 characters (RFC 4253 §4.2).
    """
    fields = [field.encode() for field in ("tcp-lab/nonce/v1", course, lab, student)]
    message = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    digest = hmac.digest(secret, message, "sha256")
    return "tcp-lab-" + base64.b32encode(digest)[:_LETTERS].decode().lower()


def find_nonces(banner: bytes) -> tuple[str, ...]:
    """The nonces that stand in a banner, in order, each once; only the first `MAX_BANNER` bytes are looked at."""
    found = _IN_BANNER.findall(banner[:MAX_BANNER])
    return tuple(dict.fromkeys(word.decode() for word in found))


def read_secret(path: Path) -> bytes:
    """The secret that all nonces are made with: the file's bytes, without the end of its last line.

    Raises:
        HarnessError: it cannot be read, is too short or too long, or others may read it; never says what it holds.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(MAX_SECRET + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise HarnessError(f"{path}: cannot read the secret: {why}") from None
    if mode & 0o066:
        raise HarnessError(f"{path}: others may read or write the secret; run: chmod 600 {path}")
    if len(secret) > MAX_SECRET:
        raise HarnessError(f"{path}: longer than {MAX_SECRET} bytes: is this the secret?")
    secret = secret.rstrip(b"\r\n")
    if len(secret) < MIN_SECRET:
        raise HarnessError(
            f"{path}: the secret has {len(secret)} bytes, at least {MIN_SECRET} are needed; "
            "make one: (umask 077; head -c 32 /dev/urandom | base64 > FILE)"
        )
    return secret


class _Loader(yaml.BaseLoader):
    """One mapping of texts: refuses aliases and whatever else can make a document deep or endless."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if parent is not None and not self.check_event(yaml.ScalarEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="expected a plain text here", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem="this key stands here twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def plain_yaml(data: bytes, where: str) -> dict[str, str]:
    """A YAML mapping of texts to texts, whatever its scalars look like.

    Raises:
        HarnessError: it is too large, or not such a mapping; names *where* and the line.
    """

    def bad(why: str, line: str = "") -> NoReturn:
        raise HarnessError(f"{where}{line}: {why}") from None

    if len(data) > MAX_YAML:
        bad(f"larger than {MAX_YAML >> 10} KiB")
    try:
        document = yaml.load(data.decode(), Loader=_Loader)  # noqa: S506 - makes text, lists and mappings only
    except UnicodeDecodeError:
        bad("not UTF-8 text")
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        bad(f"not YAML as it is expected: {one_line(error.problem or 'damaged')}", line)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        bad(f"not YAML: {one_line(str(error), 120)}")
    if not isinstance(document, dict):
        bad("expected lines of the form `key: text`")
    return document


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one student is given for one lab.

    Attributes:
        course: the course's name.
        lab: the lab's name.
        student: the student's id on the roster.
        nonce: see `nonce`.
    """

    course: str
    lab: str
    student: str
    nonce: str

    def to_yaml(self) -> str:
        """As it stands in assignment.yaml."""
        document = {
            "schema": SCHEMA,
            "course": self.course,
            "lab": self.lab,
            "student": self.student,
            "nonce": self.nonce,
            "instructions": f"run ./invoke run --lab {self.lab} --assignment assignment.yaml, "
            f"then ./invoke submit --run (its run folder) --student {self.student}",
        }
        return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=1000)


def read_assignment(path: Path) -> Assignment:
    """Read and check an assignment.yaml.

    Raises:
        HarnessError: one line with the file, and what was expected.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise HarnessError(f"{path}: cannot read the assignment: {why}") from None
    document = plain_yaml(data, str(path))
    if document.get("schema") != SCHEMA:
        raise HarnessError(f"{path}: not an assignment of ./invoke assign (its schema is not {SCHEMA})")
    for key in ("course", "lab", "student"):
        text = document.get(key, "")
        if not text.isprintable() or not 1 <= len(text) <= 100:
            raise HarnessError(f"{path}: {key}: expected a text of 1 to 100 printable characters; get the file anew")
    if not _NONCE.fullmatch(document.get("nonce", "")):
        raise HarnessError(f"{path}: nonce: expected tcp-lab- and {_LETTERS} of a-z and 2-7; get the file anew")
    return Assignment(*(document[key] for key in ("course", "lab", "student", "nonce")))
