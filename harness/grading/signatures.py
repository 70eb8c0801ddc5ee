"""Signatures by ssh keys: ssh-keygen(1) signs and verifies (-Y, OpenSSH's PROTOCOL.sshsig), always in one namespace."""

import subprocess
import tempfile
from pathlib import Path

from harness.errors import HarnessError, one_line
from harness.grading.provenance import SignatureState
from harness.interrupts import held_back

NAMESPACE = "tcp-lab"
MAX_SIGNATURE = 64 << 10  # bytes; one by an RSA key of 16384 bits has 6 KiB
_SIGN_SECONDS = 180.0  # somebody may have to find the passphrase, or the token
_VERIFY_SECONDS = 20.0


def _ssh_keygen(*arguments: str, data: bytes, seconds: float) -> "subprocess.CompletedProcess[bytes]":
    """Run ssh-keygen on some data; it asks for a passphrase on the terminal itself."""
    command = ["ssh-keygen", *arguments]
    try:
        with held_back():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise HarnessError(
            "ssh-keygen is not installed on this machine; run: sudo apt-get install openssh-client"
        ) from None
    with process:
        try:
            stdout, stderr = process.communicate(data, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{' '.join(command[:3])} did not end in {seconds:g} s") from None
        finally:
            _end(process)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it if it still runs: by SIGTERM first, since it then switches the terminal's echo on again."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()


def sign(key: Path, data: bytes) -> bytes:
    """Sign data with an ssh key: a private key's file, or a public one's whose private half an ssh-agent(1) holds.

    Raises:
        HarnessError: there is no such key, or it could not be used; says what ssh-keygen said.
    """
    if not key.is_file():
        raise HarnessError(f"{key}: there is no such ssh key; make one: ssh-keygen -t ed25519 -f {key}")
    done = _ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(key), data=data, seconds=_SIGN_SECONDS)
    if done.returncode or not done.stdout:
        said = one_line(done.stderr.decode(errors="replace").replace("Signing data on standard input", ""), 200)
        raise HarnessError(f"{key}: ssh-keygen could not sign with this key; it said: {said or 'nothing'}")
    return done.stdout


def verify(allowed_signers: Path | None, student: str, data: bytes, signature: bytes | None) -> SignatureState:
    """Whether a signature of some data is by one of the keys that are enrolled for a student.

    Args:
        allowed_signers: ssh-keygen's file of that name: a line `STUDENT KEYTYPE BASE64` a key; None if there is none.
        student: the principal of the file.
        data: what was signed.
        signature: what `sign` made, from anywhere; None if there is none.

    Returns:
        "valid"; "other-key": a signature of this data, by a key that is not enrolled for the student; "damaged": not a
        signature of this data in our namespace; "unchecked" without *allowed_signers*; "none" without a signature.

    Raises:
        HarnessError: the file of allowed signers cannot be read, or ssh-keygen is missing or hangs.
    """
    if not signature:
        return "none"
    if allowed_signers is None:
        return "unchecked"
    try:
        with allowed_signers.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise HarnessError(f"{allowed_signers}: cannot read the allowed signers: {error.strerror}") from None
    if len(signature) > MAX_SIGNATURE:
        return "damaged"
    with tempfile.TemporaryDirectory(prefix="lab-signature-") as folder:  # mode 0700
        file_of_it = Path(folder) / "signature"
        file_of_it.write_bytes(signature)

        def holds(way: str, *more: str) -> bool:
            words = ("-Y", way, "-n", NAMESPACE, "-s", str(file_of_it), *more)
            return _ssh_keygen(*words, data=data, seconds=_VERIFY_SECONDS).returncode == 0

        if holds("verify", "-f", str(allowed_signers), "-I", student):
            return "valid"
        return "other-key" if holds("check-novalidate") else "damaged"
