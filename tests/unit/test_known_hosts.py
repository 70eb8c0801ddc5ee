"""What harness.hosts.known_hosts promises: it reads known_hosts as OpenSSH does, and writes it."""

import base64
import hashlib
import hmac
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.keys import known_hosts_name, new_key_pair
from harness.hosts.known_hosts import HostKey, pinned, read, record, revoked

KEY, OTHER = (HostKey(*new_key_pair().public.split()) for _ in range(2))


def hashed(name: str) -> str:
    """A name as ssh-keygen -H writes it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("names", "name", "found"),
    [
        ("lab", "lab", True),
        ("lab", "lab2", False),
        ("other,lab", "lab", True),
        ("192.168.1.*", "192.168.1.63", True),
        ("192.168.1.6?", "192.168.1.63", True),
        ("192.168.1.*,!192.168.1.63", "192.168.1.63", False),
        ("[lab]:2222", "[lab]:2222", True),
        ("[lab]:2222", "lab", False),
        ("[lab]:2222", "l:2222", False),  # brackets are no set of letters
        ("LAB", "lab", True),
        (hashed("lab"), "lab", True),
        (hashed("lab"), "other", False),
        ("|1|not base64|x", "lab", False),
    ],
)
def test_names(names: str, name: str, found: bool) -> None:
    """Lists, patterns, negations, ports and hashes of names."""
    assert pinned(f"# a comment\n\n{names} {KEY} comment\n", name) == ([KEY] if found else [])


def test_ssh_keygen_agrees(tmp_path: Path) -> None:
    """ssh-keygen finds the same keys under the same names, and shows the same fingerprint."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("there is no ssh-keygen")
    path = tmp_path / "known_hosts"
    names = [known_hosts_name("lab.example", 22), known_hosts_name("lab.example", 2222)]
    record(path, names[0], KEY)
    record(path, names[1], OTHER)
    for name, key in zip(names, (KEY, OTHER), strict=True):
        said = subprocess.run(
            ["ssh-keygen", "-l", "-F", name, "-f", path], capture_output=True, text=True, check=True
        ).stdout
        assert key.fingerprint.split()[1] in said
        assert pinned(path.read_text(), name) == [key]


def test_record_replaces_what_was_pinned_for_that_name_only(tmp_path: Path) -> None:
    """Other names' lines, comments and markers stay; the file is its owner's only."""
    path = tmp_path / "known_hosts"
    path.write_text(f"# mine\nlab {OTHER}\nother {OTHER}\n@revoked lab {OTHER}\nnonsense\n")
    record(path, "lab", KEY)
    assert path.read_text() == f"# mine\nother {OTHER}\n@revoked lab {OTHER}\nnonsense\nlab {KEY}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (pinned(path.read_text(), "lab"), revoked(path.read_text(), "lab")) == ([KEY], [OTHER])
    assert [file.name for file in tmp_path.iterdir()] == ["known_hosts"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing pins nothing; a folder in its place is one line."""
    assert read([tmp_path / "none"]) == ""
    with pytest.raises(HarnessError, match="cannot read known_hosts: Is a directory"):
        read([tmp_path])


@pytest.mark.parametrize("line", ["lab ssh-ed25519", "lab ssh-ed25519 A===", "lab ssh-ed25519 !!!!", "@cert-authority"])
def test_a_damaged_line_pins_nothing(line: str) -> None:
    """What is no key is no key of anybody's."""
    assert pinned(line, "lab") == []
