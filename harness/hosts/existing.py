"""The hosts provider: two machines that exist already, reached over ssh with their keys pinned in known_hosts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.hosts.host import Testbed
from harness.inventory import Inventory

KNOWN_HOSTS = "~/.ssh/known_hosts"


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
def existing(inventory: Inventory) -> Iterator[Testbed]:
    """Connect to the inventory's two machines.

    The inventory's address is the lab link's; where ssh_config names another HostName, Port, User or ProxyCommand for
    the host (looked up by `ssh_alias`, else by the address), the harness goes that way.

    Raises:
        HarnessError: one line: host, what was expected, what to do.
    """
    import paramiko

    from harness.hosts.ssh import Login, both_connected

    said = _ssh_config(inventory)
    logins = []
    for entry in (inventory.server, inventory.client):
        config = said[entry.role]
        # By its alias a host is reached as ssh_config has it; by its address as the inventory has it.
        by_alias = config if entry.ssh_alias else {}
        files = [entry.identity_file] if entry.identity_file else config.get("identityfile", [])
        command = config.get("proxycommand")
        logins.append(
            Login(
                entry,
                host_keys=_known_hosts(inventory, config),
                known_as=str(config.get("hostname", entry.address)),
                sock=paramiko.ProxyCommand(str(command)) if command and command != "none" else None,
                key_files=tuple(os.path.expanduser(str(name)) for name in files or ()),  # noqa: PTH111
                user=str(by_alias.get("user", entry.user)),
                port=int(str(by_alias.get("port", entry.port))),
            )
        )
    with both_connected(logins) as (server, client):
        yield Testbed("hosts", server, client, owned=False)
