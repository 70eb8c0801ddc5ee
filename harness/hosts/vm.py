"""The vm provider: two QEMU machines with the inventory's addresses on a link of their own."""

import ipaddress
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.announcing import Announce, quietly
from harness.errors import HarnessError
from harness.hosts.embedded import sshd_config
from harness.hosts.host import Testbed
from harness.hosts.image import image, images
from harness.hosts.keys import known_hosts_name, new_key_pair
from harness.hosts.machines import MANAGEMENT, Machine, Plan, running
from harness.inventory import HostEntry, Inventory

FILES = "/run/lab"  # where a machine has its configuration


def _mac() -> str:
    """A hardware address that is nobody's: locally administered, for one card (IEEE 802, bit 2 of the first byte)."""
    return ":".join(f"{byte:02x}" for byte in (0x52, *secrets.token_bytes(5)))


def _plan(entry: HostEntry, peer: HostEntry, files: dict[str, str]) -> Plan:
    """One machine with these files and its settings."""
    lab, management = _mac(), _mac()
    settings = {
        "ROLE": entry.role,
        "ADDRESS": entry.address,
        "PREFIX": "24",
        "INTERFACE": entry.interface,
        "LAB_MAC": lab,
        "MANAGEMENT_MAC": management,
        "MANAGEMENT_ADDRESS": MANAGEMENT,
    }
    env = "".join(f"{key}={value}\n" for key, value in settings.items())
    return Plan(entry.role, peer.role, {**files, "env": env}, lab, management)


def _check(inventory: Inventory) -> None:
    """Whether two machines can be made as the inventory has them.

    Raises:
        HarnessError: they cannot; says what to change.
    """
    server, client = inventory.server, inventory.client
    network = ipaddress.ip_interface(f"{server.address}/24").network
    if ipaddress.ip_address(client.address) not in network:
        raise HarnessError(
            f"{inventory.path}: the machines share one /24 link, but hosts.client.address {client.address} is not in "
            f"{network}"
        )
    for entry in (server, client):
        if entry.user != "root":
            raise HarnessError(
                f"{inventory.path}: the machines' user is root, but hosts.{entry.role}.user is {entry.user}"
            )


@contextmanager
def vm(inventory: Inventory, banner: str | None = None, announce: Announce = quietly) -> Iterator[Testbed]:
    """Two machines as the inventory's hosts.

    Args:
        inventory: the hosts.
        banner: one printable word for the client host's SSH banner.
        announce: told each step of building the image, where it is missing.

    Raises:
        HarnessError: a tool is missing, the image cannot be built, or a machine did not boot or died; one line.
    """
    _check(inventory)
    entries = (inventory.server, inventory.client)
    names = "127.0.0.1 localhost\n" + "".join(f"{e.address} {e.role}\n" for e in entries)
    built = image(announce)
    host_keys = {entry.role: new_key_pair() for entry in entries}
    user_key = new_key_pair()
    shared = {"authorized_keys": f"{user_key.public} harness\n", "hosts": names}
    plans = [
        _plan(
            entry,
            peer,
            {**shared, "host_key": host_keys[entry.role].private, "sshd_config": sshd_config(entry, FILES, banner)},
        )
        for entry, peer in zip(entries, reversed(entries), strict=True)
    ]
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="machines-of-tcp-lab-", ignore_cleanup_errors=True))
        )
        announce("boot two machines")
        machines = stack.enter_context(running(plans, folder, built, images()))
        with _last_words(machines):
            from harness.hosts.ssh import Login, both_connected

            logins = []
            for entry, machine in zip(entries, machines, strict=True):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", machine.port), timeout=15))
                pinned = f"{known_hosts_name(entry.address, entry.port)} {host_keys[entry.role].public}"
                logins.append(Login(entry, pinned, entry.address, sock=sock, private_key=user_key.private))
            server, client = stack.enter_context(both_connected(logins))
            yield Testbed("vm", server, client, owned=True)


@contextmanager
def _last_words(machines: list[Machine]) -> Iterator[None]:
    """If a machine has died when something went wrong, say so, with the last lines of its console."""
    try:
        yield
    except HarnessError as error:
        dead = next((machine for machine in machines if not machine.runs), None)
        if dead is None:
            raise
        raise HarnessError(
            f"vm: the {dead.role}'s machine died ({error}); its console's last: {dead.last_words}"
        ) from None
