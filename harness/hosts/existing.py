"""The hosts provider: two machines that exist already, reached over ssh with their keys pinned in known_hosts."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.announcing import Announce, quietly
from harness.errors import HarnessError, one_line
from harness.hosts.host import Testbed
from harness.interrupts import held_back
from harness.inventory import HostEntry, Inventory

if TYPE_CHECKING:
    from harness.hosts.ssh import Login

KNOWN_HOSTS = "~/.ssh/known_hosts"
SECONDS = 5.0


def _ssh_config(inventory: Inventory) -> dict[str, dict[str, Any]]:
    """What the user's ssh_config(5) says of both hosts: by role, lower-case keyword → value."""
    import paramiko

    path = Path(inventory.ssh_config or "~/.ssh/config").expanduser()
    if inventory.ssh_config is None and not path.exists():
        return {"server": {}, "client": {}}
    try:
        config = paramiko.SSHConfig.from_path(str(path))
    except (OSError, paramiko.ConfigParseError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: cannot read the ssh_config: {one_line(str(error))}") from None
    return {
        entry.role: dict(config.lookup(entry.ssh_alias or entry.address))
        for entry in (inventory.server, inventory.client)
    }


def _known_hosts(inventory: Inventory, said: dict[str, Any]) -> str:
    """The text of all known_hosts files that count for one host."""
    named = inventory.known_hosts or str(said.get("userknownhostsfile", KNOWN_HOSTS))
    texts = []
    for name in named.split():
        path = Path(name).expanduser()
        if path.exists():
            try:
                texts.append(path.read_text(errors="replace"))
            except OSError as error:
                raise HarnessError(f"{path}: cannot read known_hosts: {error.strerror}") from None
    return "\n".join(texts)


@contextmanager
def _proxied(role: str, command: str) -> Iterator[socket.socket]:
    """A socket to a running ProxyCommand, which is ended and waited for when the block is left.

    Raises:
        HarnessError: what went wrong in the block, with what the command said last.
    """
    ours, theirs = socket.socketpair()
    process: subprocess.Popen[bytes] | None = None
    with ours, tempfile.TemporaryFile() as said:
        try:
            with theirs, held_back():
                process = subprocess.Popen(
                    ["sh", "-c", f"exec {command}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=said,
                    start_new_session=True,
                )
            yield ours
        except HarnessError as error:
            said.seek(0)
            last = one_line(said.read().decode(errors="replace"))
            raise HarnessError(f"{error}; {role}'s ProxyCommand said: {last or 'nothing'}") from None
        finally:
            ours.close()
            if process:
                process.terminate()
                try:
                    process.wait(SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _login(inventory: Inventory, entry: HostEntry, config: dict[str, Any], stack: ExitStack) -> "Login":
    """How to reach one host: as the inventory has it, and, by its alias or for its address, as ssh_config has it."""
    from harness.hosts.ssh import Login

    by_alias = config if entry.ssh_alias else {}  # user and port of an address are the inventory's
    files = [entry.identity_file] if entry.identity_file else config.get("identityfile", [])
    command = str(config.get("proxycommand", "none"))
    return Login(
        entry,
        host_keys=_known_hosts(inventory, config),
        known_as=str(config.get("hostname", entry.address)),
        sock=None if command == "none" else stack.enter_context(_proxied(entry.role, command)),
        key_files=tuple(os.path.expanduser(str(name)) for name in files),  # noqa: PTH111
        user=str(by_alias.get("user", entry.user)),
        port=int(str(by_alias.get("port", entry.port))),
    )


@contextmanager
def existing(inventory: Inventory, _banner: str | None = None, _announce: Announce = quietly) -> Iterator[Testbed]:
    """Connect to the inventory's two machines.

    The inventory's address is the lab link's; where ssh_config names another HostName, Port, User or ProxyCommand for
    the host (looked up by `ssh_alias`, else by the address), the harness goes that way. Their sshds are not the
    harness's: no banner is changed.

    Raises:
        HarnessError: one line: host, what was expected, what to do.
    """
    from harness.hosts.ssh import both_connected

    said = _ssh_config(inventory)
    with ExitStack() as stack:
        logins = [_login(inventory, entry, said[entry.role], stack) for entry in (inventory.server, inventory.client)]
        server, client = stack.enter_context(both_connected(logins))
        yield Testbed("hosts", server, client, owned=False)
