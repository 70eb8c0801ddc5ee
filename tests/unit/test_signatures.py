"""Signatures by ssh keys, made and verified by ssh-keygen."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.grading import signatures
from harness.grading.signatures import sign, verify
from harness.waiting import wait_for

DATA = b"the manifest\n"

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def new_key(path: Path, *, passphrase: str = "") -> Path:
    """A fresh key; its public half stands beside it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ada's key and Bob's."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: new_key(folder / name) for name in ("ada", "bob")}


@pytest.fixture
def allowed(keys: dict[str, Path], tmp_path: Path) -> Path:
    """The file of allowed signers."""
    path = tmp_path / "allowed_signers"
    lines = [f"{name} {Path(f'{key}.pub').read_text(encoding='utf-8')}" for name, key in keys.items()]
    path.write_text("# the course\nbroken ssh-ed25519 AAAA\n" + "".join(lines), encoding="utf-8")
    return path


def test_a_signature_is_its_students_own(keys: dict[str, Path], allowed: Path) -> None:
    """Valid for who made it; of another, or of one who has no key there, it is not."""
    made = sign(keys["ada"], DATA)
    assert made.startswith(b"-----BEGIN SSH SIGNATURE-----\n")
    assert verify(allowed, "ada", DATA, made) == "valid"
    assert verify(allowed, "bob", DATA, made) == "other-key"
    assert verify(allowed, "nobody", DATA, made) == "other-key"


def test_nobody_is_a_pattern(keys: dict[str, Path], allowed: Path) -> None:
    """A student's id is looked for as it stands, whatever characters it has."""
    made = sign(keys["ada"], DATA)
    for student in ("*", "a?a", "ada,bob", "!bob", "-n", "-Y sign", "$(id)"):
        assert verify(allowed, student, DATA, made) == "other-key"


def test_what_is_no_signature_of_this_data(keys: dict[str, Path], allowed: Path) -> None:
    """Other data, another namespace, garbage, more than a signature has."""
    made = sign(keys["ada"], DATA)
    assert verify(allowed, "ada", DATA + b" ", made) == "damaged"
    command = ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(keys["ada"])]
    elsewhere = subprocess.run(command, input=DATA, capture_output=True, check=True).stdout
    assert verify(allowed, "ada", DATA, elsewhere) == "damaged"
    garbage = (b"garbage", b"\0\xff", made[:60], made.replace(b"U1NI", b"AAAA"), made + bytes(1 << 20))
    for signature in garbage:
        assert verify(allowed, "ada", DATA, signature) == "damaged"
    assert list(Path(tempfile.gettempdir()).glob("lab-signature-*/signature")) == []


def test_no_signature_and_nobody_to_check_it(keys: dict[str, Path], allowed: Path) -> None:
    """Both are told apart from a bad one."""
    assert verify(allowed, "ada", DATA, None) == "none"
    assert verify(allowed, "ada", DATA, b"") == "none"
    assert verify(None, "ada", DATA, sign(keys["ada"], DATA)) == "unchecked"
    assert verify(None, "ada", DATA, None) == "none"


def test_no_allowed_signers_is_an_error(keys: dict[str, Path], tmp_path: Path) -> None:
    """It must not look as if every key were a wrong one."""
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(HarnessError, match="cannot read the allowed signers"):
            verify(path, "ada", DATA, sign(keys["ada"], DATA))


def test_no_key(tmp_path: Path) -> None:
    """One line with the command that makes one; or with what ssh-keygen says of what is no key."""
    with pytest.raises(HarnessError, match=r"there is no such ssh key; make one: ssh-keygen -t ed25519 -f "):
        sign(tmp_path / "id", DATA)
    (tmp_path / "id").write_text("no key")
    (tmp_path / "id").chmod(0o600)
    with pytest.raises(HarnessError, match="could not sign with this key; it said: ") as raised:
        sign(tmp_path / "id", DATA)
    assert "\n" not in str(raised.value)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh-agent of the test's own."""
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("ssh-agent is not installed")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own names are too long for a socket
        place = Path(folder) / "agent"
        command = ["ssh-agent", "-D", "-a", str(place)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_for("the agent's socket", place.is_socket, seconds=10)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
            yield
            process.terminate()


@pytest.mark.usefixtures("agent")
def test_an_agent_signs_for_a_public_key(tmp_path: Path, allowed: Path, keys: dict[str, Path]) -> None:
    """A public key will do where ssh-agent holds the private half; where it does not, it is one line."""
    public = tmp_path / "ada.pub"
    public.write_bytes(Path(f"{keys['ada']}.pub").read_bytes())
    with pytest.raises(HarnessError, match="could not sign"):
        sign(public, DATA)
    subprocess.run(["ssh-add", "-q", keys["ada"]], check=True, timeout=30)
    assert verify(allowed, "ada", DATA, sign(public, DATA)) == "valid"


def test_without_a_terminal_a_passphrase_is_not_waited_for(tmp_path: Path) -> None:
    """One line."""
    key = new_key(tmp_path / "locked", passphrase="not told")  # noqa: S106
    script = """
import sys
from pathlib import Path
from harness.grading.signatures import sign
sign(Path(sys.argv[1]), b"x")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, key],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        start_new_session=True,
    )
    assert "could not sign with this key" in done.stderr.splitlines()[-1]


def test_without_ssh_keygen(keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line with the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="sudo apt-get install openssh-client"):
        sign(keys["ada"], DATA)


def test_it_does_not_wait_for_ever(keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ssh-keygen that hangs is ended."""
    fake = tmp_path / "ssh-keygen"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(signatures, "_SIGN_SECONDS", 0.2)
    with pytest.raises(HarnessError, match=r"ssh-keygen -Y sign did not end in 0\.2 s"):
        sign(keys["ada"], DATA)
