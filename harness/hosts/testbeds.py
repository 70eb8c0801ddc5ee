"""The table of providers: who can bring up the two hosts of an inventory."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from harness.errors import HarnessError
from harness.hosts.embedded import embedded
from harness.hosts.existing import existing
from harness.hosts.host import Testbed
from harness.inventory import Inventory

PROVIDERS: dict[str, Callable[[Inventory], AbstractContextManager[Testbed]]] = {
    "embedded": embedded,
    "hosts": existing,
}


def testbed_for(inventory: Inventory, provider: str) -> AbstractContextManager[Testbed]:
    """The testbed of a provider, as a context manager.

    Raises:
        HarnessError: there is no such provider; names those there are.
    """
    if provider not in PROVIDERS:
        raise HarnessError(f"{inventory.path}: unknown provider {provider!r}; known are: {', '.join(PROVIDERS)}")
    return PROVIDERS[provider](inventory)
