"""Two machines as an inventory has them: what each is to be given, and how the harness logs in."""

import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.hosts.host import Host
from harness.hosts.keys import known_hosts_name, new_key_pair
from harness.hosts.machines import MANAGEMENT, Plan
from harness.hosts.own import PREFIX, check_one_link, hosts_file, sshd_config
from harness.inventory import ROLES, HostEntry, Inventory

FILES = "/run/lab"  # where a machine has its configuration
SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Access:
    """How the harness reaches one machine.

    Attributes:
        entry: its line of the inventory.
        port: the port on 127.0.0.1 that leads to its sshd; 0 before it was started.
        host_key: its public host key, "TYPE BASE64".
    """

    entry: HostEntry
    port: int
    host_key: str

    @property
    def known_hosts(self) -> str:
        """The line that pins its key."""
        return f"{known_hosts_name(self.entry.address, self.entry.port)} {self.host_key}"


@dataclass(frozen=True, slots=True)
class Pair:
    """How both machines are reached: server first.

    Attributes:
        accesses: to each.
        private_key: the text of the key that both let in.
    """

    accesses: tuple[Access, ...]
    private_key: str

    def at(self, ports: Mapping[str, int]) -> "Pair":
        """The same, once it is known which ports lead there; by role."""
        return replace(self, accesses=tuple(replace(one, port=ports[one.entry.role]) for one in self.accesses))

    @contextmanager
    def connected(self) -> Iterator[list[Host]]:
        """Log in to both while the block runs.

        Raises:
            HarnessError: one cannot be reached; one line.
        """
        from harness.hosts.ssh import Login, both_connected

        with ExitStack() as stack:
            logins = []
            for one in self.accesses:
                try:
                    sock = socket.create_connection(("127.0.0.1", one.port), timeout=SECONDS)
                except OSError as error:
                    raise HarnessError(
                        f"vm: the {one.entry.role}'s machine cannot be reached: {error.strerror or error}"
                    ) from None
                stack.enter_context(sock)
                logins.append(
                    Login(one.entry, one.known_hosts, one.entry.address, sock=sock, private_key=self.private_key)
                )
            yield stack.enter_context(both_connected(logins))

    def write(self, path: Path) -> None:
        """Write it into a file that only its owner reads."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Pair":
        """What `write` wrote."""
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        accesses = (Access(**one | {"entry": HostEntry(**one["entry"])}) for one in document["accesses"])
        return cls(tuple(accesses), document["private_key"])


def _mac() -> str:
    """A hardware address that is nobody's: locally administered, for one card (IEEE 802, bit 2 of the first byte)."""
    return ":".join(f"{byte:02x}" for byte in (0x52, *secrets.token_bytes(5)))


def check(inventory: Inventory) -> None:
    """Whether two machines can be made as the inventory has them.

    Raises:
        HarnessError: they cannot; says what to change.
    """
    check_one_link(inventory)
    for entry in (inventory.server, inventory.client):
        if entry.user != "root":
            raise HarnessError(
                f"{inventory.path}: the machines' user is root, but hosts.{entry.role}.user is {entry.user}"
            )


def planned(inventory: Inventory, banner: str | None = None) -> tuple[Pair, list[Plan]]:
    """Two machines with new keys; the server's user may log in to the client, for work by hand.

    Args:
        inventory: the hosts.
        banner: one printable word for the client host's SSH banner.

    Raises:
        HarnessError: no machines can be made so; says what to change.
    """
    check(inventory)
    user_key, servers_key = new_key_pair(), new_key_pair()
    host_keys = {role: new_key_pair() for role in ROLES}
    accesses = tuple(Access(entry, 0, host_keys[entry.role].public) for entry in (inventory.server, inventory.client))
    let_in = f'from="{inventory.server.address}" {servers_key.public} server\n'
    of_role = {
        "server": {"id_ed25519": servers_key.private, "known_hosts": f"{accesses[1].known_hosts}\n"},
        "client": {},
    }
    plans = []
    for entry, peer in ((inventory.server, inventory.client), (inventory.client, inventory.server)):
        lab, management = _mac(), _mac()
        settings = {
            "ROLE": entry.role,
            "ADDRESS": entry.address,
            "PREFIX": str(PREFIX),
            "INTERFACE": entry.interface,
            "LAB_MAC": lab,
            "MANAGEMENT_MAC": management,
            "MANAGEMENT_ADDRESS": MANAGEMENT,
        }
        files = {
            "env": "".join(f"{key}={value}\n" for key, value in settings.items()),
            "authorized_keys": f"{user_key.public} harness\n{let_in if entry.role == 'client' else ''}",
            "hosts": hosts_file(inventory),
            "host_key": host_keys[entry.role].private,
            "sshd_config": sshd_config(entry, FILES, banner),
            **of_role[entry.role],
        }
        plans.append(Plan(entry.role, peer.role, files, lab, management))
    return Pair(accesses, user_key.private), plans
