"""The table of providers: who can bring up the two hosts of an inventory."""

from contextlib import AbstractContextManager
from typing import Protocol

from harness.announcing import Announce, quietly
from harness.errors import HarnessError
from harness.hosts.embedded import embedded
from harness.hosts.existing import existing
from harness.hosts.host import Testbed
from harness.inventory import Inventory


class Provider(Protocol):
    """Brings up the hosts of an inventory, for as long as the block runs."""

    def __call__(
        self, inventory: Inventory, banner: str | None = None, announce: Announce = quietly, /
    ) -> AbstractContextManager[Testbed]:
        """Bring them up.

        Args:
            inventory: the hosts.
            banner: added to the SSH banner of the client host, if its sshd is the harness's own.
            announce: told each step of what takes long.
        """


def _vm(
    inventory: Inventory, banner: str | None = None, announce: Announce = quietly
) -> AbstractContextManager[Testbed]:
    """Two machines; what makes them is imported only where they are wanted."""
    from harness.hosts.vm import vm

    return vm(inventory, banner, announce)


PROVIDERS: dict[str, Provider] = {
    "embedded": embedded,
    "hosts": existing,
    "vm": _vm,
}
FOREIGN = frozenset({"hosts"})  # whose hosts are not the harness's own


def testbed_for(
    inventory: Inventory, provider: str, banner: str | None, announce: Announce
) -> AbstractContextManager[Testbed]:
    """The testbed of a provider, as a context manager.

    Args:
        inventory: the hosts.
        provider: its name.
        banner: one printable word for the client host's SSH banner; hosts that exist already are left as they are.
        announce: told each step of what takes long.

    Raises:
        HarnessError: there is no such provider; names those there are.
    """
    if provider not in PROVIDERS:
        raise HarnessError(f"{inventory.path}: unknown provider {provider!r}; known are: {', '.join(PROVIDERS)}")
    return PROVIDERS[provider](inventory, banner, announce)
