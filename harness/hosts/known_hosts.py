"""Pinned host keys: the format of known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), read and written."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.errors import HarnessError
from harness.runs import write_private

_TYPES = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA", "ssh-dss": "DSA"}
_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public host key.

    Attributes:
        kind: as in known_hosts, "ssh-ed25519".
        base64: the key itself.
    """

    kind: str
    base64: str

    def __str__(self) -> str:
        """As in known_hosts."""
        return f"{self.kind} {self.base64}"

    @property
    def fingerprint(self) -> str:
        """As OpenSSH shows it: "ED25519 SHA256:…"."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        kind = _TYPES.get(self.kind, "ECDSA" if self.kind.startswith("ecdsa-") else self.kind)
        return f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class _Line:
    marker: str
    names: str
    key: HostKey

    def is_of(self, name: str) -> bool:
        """Whether it pins the key of this very name: patterns, negated ones too, or a hash of the name."""
        if self.names.startswith("|1|"):
            salt, _, digest = self.names.removeprefix("|1|").partition("|")
            try:
                made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
                return hmac.compare_digest(made, base64.b64decode(digest))
            except binascii.Error:
                return False
        # In known_hosts, unlike for fnmatch, brackets are a part of a name.
        patterns = [pattern.replace("[", "[[]") for pattern in self.names.lower().split(",")]
        if any(fnmatchcase(name, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
            return False
        return any(fnmatchcase(name, pattern) for pattern in patterns)


def _parsed(line: str) -> _Line | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or not _KEY.fullmatch(f"{words[1]} {words[2]}"):
        return None
    try:
        base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return None
    return _Line(marker, words[0], HostKey(words[1], words[2]))


def _lines_of(text: str, name: str) -> Iterator[_Line]:
    for line in text.splitlines():
        parsed = _parsed(line)
        if parsed and parsed.is_of(name.lower()):
            yield parsed


def pinned(text: str, name: str) -> list[HostKey]:
    """The keys that a known_hosts text pins for a name ("host", or "[host]:port" where the port is not 22)."""
    return [line.key for line in _lines_of(text, name) if not line.marker]


def revoked(text: str, name: str) -> list[HostKey]:
    """The keys that a known_hosts text says are not to be accepted."""
    return [line.key for line in _lines_of(text, name) if line.marker == "@revoked"]


def read(paths: Iterable[Path]) -> str:
    """The text of known_hosts files, as far as they are there.

    Raises:
        HarnessError: one cannot be read.
    """
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HarnessError(f"{path}: cannot read known_hosts: {error.strerror}") from None
    return "\n".join(texts)


def record(path: Path, name: str, key: HostKey) -> None:
    """Pin one key for a name, in place of whatever this file pinned for just that name (mode 0600, whole or not).

    Raises:
        HarnessError: the file cannot be read or written.
    """
    kept = []
    for line in read([path]).splitlines():
        parsed = _parsed(line)
        if parsed is None or parsed.marker or not parsed.is_of(name.lower()):
            kept.append(line)
    write_private(path, "".join(f"{line}\n" for line in (*kept, f"{name} {key}")))
