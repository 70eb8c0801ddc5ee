"""Ed25519 key pairs, made in memory."""

from dataclasses import dataclass, field

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An SSH key pair in OpenSSH's formats.

    Attributes:
        private: the text of a private key file (not encrypted; kept out of repr and so out of logs).
        public: "ssh-ed25519 AAAA…", without a comment.
    """

    private: str = field(repr=False)
    public: str


def new_key_pair() -> KeyPair:
    """Make a key pair."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return KeyPair(private.decode(), public.decode())


def known_hosts_name(address: str, port: int) -> str:
    """A host's name in known_hosts: with its port where that is not 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    return address if port == SSH_PORT else f"[{address}]:{port}"
