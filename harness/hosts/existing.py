"""The hosts provider: two machines that exist already, reached over ssh with their keys pinned in known_hosts."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from harness.announcing import Announce, quietly
from harness.errors import LoginRefusedError
from harness.hosts.host import Host, Testbed
from harness.hosts.passwords import from_environment, typed
from harness.hosts.ways import ways_to
from harness.inventory import Inventory

if TYPE_CHECKING:
    from harness.hosts.ssh import Login


def _logins(inventory: Inventory, passwords: Mapping[str, str], stack: ExitStack) -> "Iterator[Login]":
    """How to log in to each host; the ways there stay open as long as the stack."""
    from harness.hosts.ssh import Login

    for entry, way in zip((inventory.server, inventory.client), ways_to(inventory), strict=True):
        yield Login(
            entry,
            host_keys=way.host_keys,
            known_as=way.host,
            sock=None if way.command is None else stack.enter_context(way.opened()),
            key_files=way.key_files,
            user=way.user,
            port=way.port,
            pinned_as=way.pinned_as,
            password=passwords.get(entry.role),
        )


def _both(inventory: Inventory, stack: ExitStack) -> list[Host]:
    """Both hosts, connected as long as the stack; who has no key and named no password is asked for it, once.

    Asked here, in the main thread, where Ctrl-C is answered: what was refused is begun anew.
    """
    from harness.hosts.ssh import both_connected

    entries = (inventory.server, inventory.client)
    passwords = {entry.role: found for entry in entries if (found := from_environment(inventory, entry))}
    while True:
        with ExitStack() as attempt:
            try:
                hosts = attempt.enter_context(both_connected(list(_logins(inventory, passwords, attempt))))
            except LoginRefusedError as error:
                role, _, host = str(error).partition(" (")
                asked = None if role in passwords else typed(f"Password of {host.partition(' ')[0]} (it is not shown):")
                if asked is None:
                    raise
                passwords[role] = asked
                continue
            stack.push(attempt.pop_all())
            return hosts


@contextmanager
def existing(inventory: Inventory, _banner: str | None = None, _announce: Announce = quietly) -> Iterator[Testbed]:
    """Connect to the inventory's two machines (`harness.hosts.ways` says how); their sshds are left as they are.

    Raises:
        HarnessError: one line: host, what was expected, what to do.
    """
    with ExitStack() as stack:
        server, client = _both(inventory, stack)
        yield Testbed("hosts", server, client, owned=False)
