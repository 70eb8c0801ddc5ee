"""The one owner of paramiko: connect to a host with its key pinned."""

import io
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import paramiko

from harness.errors import HarnessError, LoginRefusedError, LostError, one_line
from harness.hosts.host import Channel, ErrorBorder, Host
from harness.hosts.keys import known_hosts_name
from harness.hosts.known_hosts import HostKey, pinned, revoked
from harness.inventory import HostEntry

SECONDS = 15.0  # for each step of a connection
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")}  # key type → those that use it (RFC 8332)
# What matters of its errors is raised, and told in one line.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
_LOST = "SSH session not active"  # paramiko's words for a connection that is gone
_NOTHING_TO_TRY = "No authentication methods available"  # paramiko's words
_OTHER_LOGINS = (
    "check user and identity_file in the inventory, or give a password: password_env there, or type it at a terminal"
)

# Foreign exception → what it means to the user; the first that fits is taken.
_MEANINGS: tuple[tuple[type[BaseException], Callable[[BaseException], str]], ...] = (
    (
        paramiko.AuthenticationException,
        lambda e: f"sshd refused the login ({one_line(str(e))}); {_OTHER_LOGINS}",
    ),
    (
        TimeoutError,
        lambda _: "no answer in time; is the host up and its address right in the inventory?",
    ),
    (
        ConnectionRefusedError,
        lambda _: "connection refused; is sshd running, and the port right in the inventory?",
    ),
    (
        paramiko.SSHException,
        lambda e: (
            f"sshd refused the login (no key to try); {_OTHER_LOGINS}"
            if str(e) == _NOTHING_TO_TRY
            else "the connection to the host was lost; is it up?"
            if str(e) == _LOST
            else f"ssh failed: {one_line(str(e))}"
        ),
    ),
    (EOFError, lambda _: "the connection was closed by the host; is its sshd still running?"),
    (OSError, lambda e: f"the connection failed: {one_line(getattr(e, 'strerror', None) or str(e))}"),
)


@contextmanager
def translated(who: str, doing: str) -> Iterator[None]:
    """Let no exception of paramiko or the socket layer through: each becomes one line about *who*."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        for kind, meaning in _MEANINGS:
            if isinstance(error, kind):
                refused = isinstance(error, paramiko.AuthenticationException) or str(error) == _NOTHING_TO_TRY
                raise (LoginRefusedError if refused else LostError)(f"{who}: {doing}: {meaning(error)}") from error
        raise


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach one host.

    Attributes:
        entry: its line of the inventory.
        host_keys: a known_hosts text that pins its key.
        known_as: the machine's name; what is dialled without *sock*.
        sock: a connected socket, if the name is not to be dialled directly.
        private_key: the text of a private key, if not one from a file.
        key_files: private key files to try.
        user: whom to log in as, if not the inventory's user.
        port: where to connect, if not the inventory's port.
        pinned_as: the name under which its key stands in known_hosts, if not *known_as* with the port.
        password: tried where the keys are refused; as the answer to a question, where sshd has only those.
    """

    entry: HostEntry
    host_keys: str
    known_as: str
    sock: socket.socket | None = None
    private_key: str | None = field(default=None, repr=False)
    key_files: tuple[str, ...] = ()
    user: str | None = None
    port: int | None = None
    pinned_as: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Pins:
    """Accepts the pinned host keys and no other (what paramiko calls a MissingHostKeyPolicy).

    Attributes:
        who: whose they are, for the error.
        keys: those that are pinned.
        revoked: those that are never accepted.
    """

    who: str
    keys: list[HostKey]
    revoked: list[HostKey]

    def missing_host_key(self, _client: paramiko.SSHClient, _name: str, shown: paramiko.PKey) -> None:
        """Raise HarnessError unless the key is pinned."""
        key = HostKey(shown.get_name(), shown.get_base64())
        if key in self.revoked:
            raise HarnessError(f"{self.who}: connecting: the host key {key.fingerprint} is marked @revoked")
        if key in self.keys:
            return
        if self.keys:
            pinned_key = next((one for one in self.keys if one.kind == key.kind), self.keys[0])
            raise HarnessError(
                f"{self.who}: connecting: wrong host key: pinned is {pinned_key.fingerprint}, shown was "
                f"{key.fingerprint}; if the host was really set up anew, run ./invoke trust --replace"
            )
        raise HarnessError(
            f"{self.who}: connecting: its host key {key.fingerprint} is in no known_hosts; if that is the host's, "
            "run ./invoke trust"
        )

    def transport(self, sock: socket.socket, **options: Any) -> paramiko.Transport:
        """A transport that asks for a key of a pinned type, should the host have several."""
        made = paramiko.Transport(sock, **options)
        security = made.get_security_options()
        wanted = {name for key in self.keys for name in _ALGORITHMS.get(key.kind, (key.kind,))}
        security.key_types = sorted(security.key_types, key=lambda name: name not in wanted)  # it is stable
        return made


def shown_host_key(name: str, host_keys: str, sock: socket.socket, who: str) -> HostKey:
    """The key that a machine shows, of a type that is pinned for its name if it can; nobody logs in.

    Raises:
        HarnessError: it cannot be reached, or is no ssh server.
    """
    pins = _Pins(who, pinned(host_keys, name), [])
    with translated(who, "asking for its host key"):
        transport = pins.transport(sock)
        try:
            transport.banner_timeout = SECONDS
            transport.start_client(timeout=SECONDS)
            key = transport.get_remote_server_key()
        finally:
            transport.close()
    return HostKey(key.get_name(), key.get_base64())


@contextmanager
def connected(login: Login) -> Iterator[Host]:
    """Connect; the connection is closed when the block is left.

    Raises:
        HarnessError: one line with the host, what was expected and what to do.
    """
    entry = login.entry
    user, port = login.user or entry.user, login.port or entry.port
    who = f"{entry.role} ({user}@{login.known_as} port {port})"
    client = paramiko.SSHClient()
    name = login.pinned_as or known_hosts_name(login.known_as, port)
    pins = _Pins(who, pinned(login.host_keys, name), revoked(login.host_keys, name))
    client.set_missing_host_key_policy(cast("paramiko.MissingHostKeyPolicy", pins))
    if login.sock is not None and login.sock.family in (socket.AF_INET, socket.AF_INET6):
        login.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with translated(who, "connecting"):
            client.connect(
                login.known_as,
                port=port,
                username=user,
                password=login.password,
                sock=login.sock,
                transport_factory=pins.transport,  # type: ignore[arg-type] # anything that makes one will do
                pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(login.private_key))
                if login.private_key
                else None,
                key_filename=list(login.key_files) or None,  # type: ignore[arg-type] # takes several
                look_for_keys=login.private_key is None,
                allow_agent=login.private_key is None,
                timeout=SECONDS,
                banner_timeout=SECONDS,
                auth_timeout=SECONDS,
                channel_timeout=SECONDS,
            )
            transport = client.get_transport()
            if transport is None:
                raise HarnessError(f"{who}: the connection was closed at once")
            key = transport.get_remote_server_key()

        def open_channel(command: str, pty: bool) -> Channel:
            channel = transport.open_session(timeout=SECONDS)
            if pty:
                channel.get_pty(term="dumb", width=200)
            channel.exec_command(command)
            return cast("Channel", channel)

        def errors(doing: str) -> ErrorBorder:
            return cast("ErrorBorder", translated(entry.role, doing))

        yield Host(entry, f"{key.get_name()} {key.get_base64()}", open_channel, errors, transport.is_active)
    finally:
        client.close()


@contextmanager
def both_connected(logins: list[Login]) -> Iterator[list[Host]]:
    """Connect to several hosts at once; errors as in `connected`, the first host's first."""
    with ExitStack() as stack:
        with ThreadPoolExecutor(len(logins)) as pool:
            opening = [pool.submit(stack.enter_context, connected(login)) for login in logins]
        yield [future.result() for future in opening]
