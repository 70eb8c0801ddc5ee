"""The one owner of paramiko: connect to a host with its key pinned."""

import io
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import cast

import paramiko

from harness.errors import HarnessError, one_line
from harness.hosts.host import Channel, ErrorBorder, Host
from harness.inventory import HostEntry

SECONDS = 15.0  # for each step of a connection
# What matters of its errors is raised, and told in one line.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def _fingerprint(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


# Foreign exception → what it means to the user; the first that fits is taken.
_MEANINGS: tuple[tuple[type[BaseException], Callable[[BaseException], str]], ...] = (
    (
        paramiko.BadHostKeyException,
        lambda e: (
            "wrong host key: pinned is "
            f"{_fingerprint(cast('paramiko.BadHostKeyException', e).expected_key)}, shown was "
            f"{_fingerprint(cast('paramiko.BadHostKeyException', e).key)}; "
            "if the host was really set up anew, mend the known_hosts file"
        ),
    ),
    (
        paramiko.AuthenticationException,
        lambda e: f"sshd refused the login ({one_line(str(e))}); check user and identity_file in the inventory",
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
            f"{one_line(str(e))}; record its host key in known_hosts first"
            if "not found in known_hosts" in str(e)
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
                raise HarnessError(f"{who}: {doing}: {meaning(error)}") from error
        raise


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach one host.

    Attributes:
        entry: its line of the inventory.
        host_keys: a known_hosts text that pins its key.
        known_as: the name under which its key stands there.
        sock: a connected socket, if the address is not to be dialled directly.
        private_key: the text of a private key, if not one from a file.
        key_files: private key files to try.
        user: whom to log in as, if not the inventory's user.
        port: where to connect, if not the inventory's port.
    """

    entry: HostEntry
    host_keys: str
    known_as: str
    sock: socket.socket | None = None
    private_key: str | None = None
    key_files: tuple[str, ...] = ()
    user: str | None = None
    port: int | None = None


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
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for line in login.host_keys.splitlines():
        if parsed := paramiko.hostkeys.HostKeyEntry.from_line(line):
            for name in parsed.hostnames:
                client.get_host_keys().add(name, parsed.key.get_name(), parsed.key)
    if login.sock is not None and login.sock.family in (socket.AF_INET, socket.AF_INET6):
        login.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with translated(who, "connecting"):
            client.connect(
                login.known_as,
                port=port,
                username=user,
                sock=login.sock,
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
