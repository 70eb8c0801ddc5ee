"""Record the host keys of machines that exist already, after their fingerprints were shown."""

import sys
from collections.abc import Iterator
from pathlib import Path

from harness.cli import say
from harness.errors import HarnessError
from harness.hosts import known_hosts
from harness.hosts.ways import Way, ways_to
from harness.interrupts import between_steps
from harness.inventory import load_inventory
from harness.language import _


def _hops(ways: list[Way]) -> Iterator[Way]:
    """Every machine on the ways, each once, those that lead to others first."""
    seen: set[str] = set()
    for way in ways:
        for hop in (*way.jumps, way):
            if hop.pinned_as not in seen:
                seen.add(hop.pinned_as)
                yield hop


def _agreed(question: str) -> bool:
    """Ask at the terminal.

    Raises:
        HarnessError: there is none.
    """
    if not sys.stdin.isatty():
        raise HarnessError(
            f"{question} there is no terminal to ask at; compare the fingerprint with the host's own "
            "(ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub there), then run ./invoke trust --yes"
        )
    while True:
        sys.stdout.write(f"{question} (yes/no) ")
        sys.stdout.flush()
        answer = sys.stdin.readline()
        if not answer or answer.strip().lower() in {"n", "no"}:
            return False
        if answer.strip().lower() in {"y", "yes"}:
            return True


def trust(inventory: Path, *, yes: bool, replace: bool) -> int:
    """Show the host keys of both hosts, and of the jump hosts before them, and record those that the user accepts.

    Args:
        inventory: its file.
        yes: accept without being asked.
        replace: take a new key in place of one that is pinned.

    Raises:
        HarnessError: a host cannot be reached, shows another key than is pinned, or was not accepted.
    """
    from harness.hosts.ssh import shown_host_key

    loaded = load_inventory(inventory)
    for way in _hops(ways_to(loaded)):
        name = way.pinned_as
        with between_steps(), way.opened() as sock:
            key = shown_host_key(name, way.host_keys, sock, way.who)
        known = known_hosts.pinned(way.host_keys, name)
        if key in known_hosts.revoked(known_hosts.read([way.project_file, *way.user_files]), name):
            raise HarnessError(f"{way.who} ({name}): its host key {key.fingerprint} is marked @revoked in known_hosts")
        say(f"{way.who} ({name}): {key.fingerprint}")
        if key in known:
            say(_("  known already"))
            continue
        if known and not replace:
            pinned = next((one for one in known if one.kind == key.kind), known[0])
            raise HarnessError(
                f"{way.who} ({name}): its host key has changed: pinned is {pinned.fingerprint}, shown was "
                f"{key.fingerprint}; if the host was really set up anew, run ./invoke trust --replace, else somebody "
                "else answers in its place"
            )
        for one in known:
            say(_("  in place of {fingerprint}").format(fingerprint=one.fingerprint))
        if not yes and not _agreed(
            _("{host}: trust {fingerprint}?").format(host=f"{way.who} ({name})", fingerprint=key.fingerprint)
        ):
            raise HarnessError(f"{way.who} ({name}): not trusted, so nothing was recorded of it")
        known_hosts.record(way.project_file, name, key)
        say(_("  recorded in {path}").format(path=way.project_file))
    return 0
