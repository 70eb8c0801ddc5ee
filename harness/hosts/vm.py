"""The vm provider: two QEMU machines with the inventory's addresses on a link of their own."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.announcing import Announce, quietly
from harness.errors import HarnessError
from harness.hosts import kept
from harness.hosts.host import Host, Testbed
from harness.hosts.image import image, images
from harness.hosts.machines import Machine, running
from harness.hosts.own import sshd_config
from harness.hosts.pair import FILES, Pair, planned
from harness.inventory import Inventory

# Standard input: sshd's configuration. sshd executes itself anew, as the same process; what is connected stays so.
_RELOAD = """
cat >"$1/sshd_config"
kill -HUP "$(pgrep -o -x sshd)"
tries=0
until ssh-keyscan -t ed25519 -T 5 -p "$2" 127.0.0.1 2>&1 | grep -q "^# .*SSH-2.0-.*$3"; do
    [ "$((tries += 1))" -lt 100 ] || { echo "sshd did not come back" >&2; exit 1; }
    sleep 0.1
done
"""


@contextmanager
def vm(inventory: Inventory, banner: str | None = None, announce: Announce = quietly) -> Iterator[Testbed]:
    """Two machines as the inventory's hosts: those that are up, else two that are started and ended here.

    Args:
        inventory: the hosts.
        banner: one printable word for the client host's SSH banner.
        announce: told each step of building the image, where it is missing.

    Raises:
        HarnessError: a tool is missing, the image cannot be built, or a machine did not boot or died; one line.
    """
    with ExitStack() as stack:
        if kept.found():
            stack.enter_context(kept.ours())
        if there := kept.found():
            there.check(inventory)
            machines, pair = there.machines, there.pair
        else:
            machines, pair = stack.enter_context(_for_this_run(inventory, banner, announce))
        stack.enter_context(_last_words(machines))
        server, client = stack.enter_context(pair.connected())
        if there and banner:
            stack.enter_context(_saying(client, banner))
        yield Testbed("vm", server, client, owned=True)


@contextmanager
def _for_this_run(inventory: Inventory, banner: str | None, announce: Announce) -> Iterator[tuple[list[Machine], Pair]]:
    """Two machines that are ended when the block is left."""
    pair, plans = planned(inventory, banner)
    built = image(announce)
    with tempfile.TemporaryDirectory(prefix="machines-of-tcp-lab-", ignore_cleanup_errors=True) as folder:
        announce("boot two machines")
        with running(plans, Path(folder), built, images()) as machines:
            yield machines, pair.at({machine.role: machine.port for machine in machines})


@contextmanager
def _saying(client: Host, banner: str) -> Iterator[None]:
    """Have a machine that is up say a word in its SSH banner while the block runs."""

    def reload(word: str | None) -> None:
        config = sshd_config(client.entry, FILES, word)
        client.shell(_RELOAD, FILES, str(client.entry.port), word or "", stdin=config)

    try:
        reload(banner)
        yield
    finally:
        reload(None)


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
