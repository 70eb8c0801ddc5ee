"""What the hosts that the harness makes have in common: their link, their names, and their sshd."""

import ipaddress

from harness.errors import HarnessError
from harness.inventory import HostEntry, Inventory

PREFIX = 24  # the lab link's

_SSHD_CONFIG = """\
Port {port}
HostKey {files}/host_key
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
X11Forwarding no
"""


def check_one_link(inventory: Inventory) -> None:
    """Whether both hosts' addresses are of one network.

    Raises:
        HarnessError: they are not; says which address to change.
    """
    server, client = inventory.server, inventory.client
    network = ipaddress.ip_interface(f"{server.address}/{PREFIX}").network
    if ipaddress.ip_address(client.address) not in network:
        raise HarnessError(
            f"{inventory.path}: both hosts share one /{PREFIX} link, but hosts.client.address {client.address} is not "
            f"in {network}"
        )


def hosts_file(inventory: Inventory) -> str:
    """The hosts(5) file of both."""
    return "127.0.0.1 localhost\n" + "".join(f"{e.address} {e.role}\n" for e in (inventory.server, inventory.client))


def sshd_config(entry: HostEntry, files: str, banner: str | None) -> str:
    """The configuration of a host's sshd; VersionAddendum ends the line that is in clear on the wire (RFC 4253 §4.2).

    Args:
        entry: the host.
        files: the folder that has its host key.
        banner: one printable word for the client host's banner.
    """
    config = _SSHD_CONFIG.format(port=entry.port, files=files)
    return f"{config}VersionAddendum {banner}\n" if banner and entry.role == "client" else config
