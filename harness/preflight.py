"""Before the experiment: can these two hosts do it? Every lack is one line: host, what was expected, what to do.

Needed are a POSIX shell and its utilities, sshd, and on the server host ssh and tcpdump. What else is there is used;
what is not is said, and what therefore could not be checked.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.announcing import Announce, quietly
from harness.errors import HarnessError, one_line
from harness.hosts.host import Host, Testbed, together
from harness.tcpdump import Tcpdump
from harness.waiting import wait_for

_CLOCK_SECONDS = 5  # by which a host's clock may be wrong before it is said

# One round trip a host: everything preflight wants to know, as "key value" lines. Needs nothing but a POSIX shell.
_PROBE = """
PATH=$PATH:/usr/sbin:/sbin
interface=$1 peer=$2
for tool in tcpdump ssh ip ss sha256sum; do
    command -v "$tool" >/dev/null 2>&1 && echo "tool $tool"
done
echo "user $(id -un)"
echo "clock $(date +%s)"
echo "connection $SSH_CONNECTION"
hexadecimal() { IFS=. && set -- $1 && printf "%02X%02X%02X%02X" "$4" "$3" "$2" "$1"; }
grep " $(hexadecimal "$peer"):[0-9A-F]* 01 " /proc/net/tcp 2>/dev/null | while read -r _ local remote _; do
    echo "connected ${local#*:} ${remote#*:}"
done
echo "kernel $(uname -sr)"
echo "system $(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")"
echo "tcpdump_version $(tcpdump --version 2>&1 | head -n 1)"
echo "ssh_version $(ssh -V 2>&1)"
for path in /sys/class/net/*; do echo "interface ${path##*/}"; done
ip -o -4 addr show dev "$interface" 2>/dev/null | while read -r _ _ _ address _; do echo "address ${address%/*}"; done
ip -o link show dev "$interface" 2>/dev/null | grep -q LOWER_UP && echo "carrier yes"
tcpdump --help 2>&1 | grep -q -- --immediate-mode && echo "immediate yes"
if tcpdump -i "$interface" -d >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then echo "capture as root"; else echo "capture with rights of its own"; fi
elif command -v sudo >/dev/null 2>&1 && sudo -n tcpdump -i "$interface" -d >/dev/null 2>&1; then
    echo "capture with sudo -n"
else
    echo "capture_error $(tcpdump -i "$interface" -d 2>&1 >/dev/null | tail -n 1)"
fi
ip route get "$peer" 2>/dev/null | head -n 1 | while read -r line; do echo "route $line"; done
true
"""

_SUDO = "with sudo -n"
_PACKAGES = {"tcpdump": "tcpdump", "ssh": "openssh-client"}
_ROUTE = re.compile(r"\bdev (\S+)")  # of what `ip route get` prints


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What preflight learned of a host; goes into run.json.

    Attributes:
        kernel: `uname -sr`.
        system: the distribution's name.
        tcpdump: its version line.
        ssh: its version line.
        user: who the harness is there.
        captures: how it may capture there: "as root", "with rights of its own", "with sudo -n"; None: it need not.
        immediate: whether tcpdump has packets as they come.
        hashes: whether there is sha256sum.
        clock_ahead: by how many seconds its clock is ahead of the harness's, about.
        unchecked: what could not be checked or watched for want of a tool.
        others: ports at the far ends of connections to an ssh port that are there already between this host and its
            peer: the harness's own, where it goes over the lab link, and other people's.
        shared: whether others than the lab may send on its link: the hosts are not the harness's own.
    """

    kernel: str
    system: str
    tcpdump: str
    ssh: str
    user: str
    captures: str | None
    immediate: bool
    hashes: bool
    clock_ahead: int
    unchecked: tuple[str, ...]
    others: tuple[int, ...]
    shared: bool = False

    @property
    def tool(self) -> Tcpdump:
        """How to run tcpdump there."""
        return Tcpdump(("sudo", "-n") if self.captures == _SUDO else (), self.immediate, self.hashes, self.shared)

    def told(self, role: str) -> Iterator[str]:
        """What is worth a line before a run on hosts of others."""
        if self.captures:
            version = self.tcpdump.removeprefix("tcpdump version ") or "of an unknown version"
            slow = "" if self.immediate else ", which hands packets over about once a second"
            yield f"{role}: {self.user} captures {self.captures}; tcpdump {version}{slow}"
        for one in self.unchecked:
            yield f"{role}: {one}"
        if abs(self.clock_ahead) > _CLOCK_SECONDS:
            side = "ahead of" if self.clock_ahead > 0 else "behind"
            yield f"{role}: its clock is {abs(self.clock_ahead)} s {side} this machine's; nothing depends on it"


def _probe(host: Host, peer: Host) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in host.shell(_PROBE, host.entry.interface, peer.entry.address).text.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    return said


def _others(said: dict[str, list[str]], host: Host, peer: Host) -> tuple[int, ...]:
    """What `HostFacts.others` holds: by /proc/net/tcp (hexadecimal ports), and by $SSH_CONNECTION."""
    found = set()
    for line in said.get("connected", []):
        local, remote = (int(port, 16) for port in line.split())
        if remote == peer.entry.port:
            found.add(local)
        elif local == host.entry.port:
            found.add(remote)
    words = " ".join(said.get("connection", [])).split()
    if len(words) == 4 and words[0] == peer.entry.address:
        found.add(int(words[1]))
    return tuple(sorted(found))


def _unchecked(host: Host, present: list[str], *, captures: bool) -> Iterator[str]:
    """What the lack of a tool means."""
    if "ip" not in present:
        yield f"no ip: whether {host.entry.address} is on {host.entry.interface}, and that is up, was not checked"
    if "ss" not in present:
        yield "no ss: its sockets' states are read from /proc/net/tcp"
    if captures and "sha256sum" not in present:
        yield "no sha256sum: the fetched capture is compared by its size only"


def _check(host: Host, peer: Host, tools: tuple[str, ...], *, captures: bool) -> HostFacts:
    entry = host.entry

    def lacks(expected: str, mend: str) -> HarnessError:
        return HarnessError(f"{entry.role} ({entry.address}): expected {expected}; {mend}")

    asked = time.time()
    said = _probe(host, peer)
    here = (asked + time.time()) / 2
    present = said.get("tool", [])
    for tool in tools:
        if tool not in present:
            raise lacks(f"{tool} to be installed", f"install the package {_PACKAGES[tool]} there")
    interfaces = said.get("interface", [])
    if interfaces != ["*"] and entry.interface not in interfaces:
        way = _ROUTE.search(" ".join(said.get("route", [])))
        if way and way[1] != "lo":
            raise HarnessError(
                f"{entry.role} ({entry.address}): interface {entry.interface} is not there; the route to "
                f"{peer.entry.address} goes by {way[1]}: put interface: {way[1]} into the inventory"
            )
        raise lacks(
            f"an interface {entry.interface}",
            f"it has {', '.join(sorted(interfaces))}; name the lab link's in the inventory",
        )
    if "ip" in present:
        addresses = said.get("address", [])
        if entry.address not in addresses:
            found = ", ".join(addresses) or "no IPv4 address"
            way = _ROUTE.search(" ".join(said.get("route", [])))
            other = (
                f" (the route to {peer.entry.address} goes by {way[1]})" if way and way[1] != entry.interface else ""
            )
            raise lacks(
                f"{entry.address} on {entry.interface}",
                f"it carries {found}{other}; mend the inventory or the host",
            )
        if "carrier" not in said:
            wait_for(
                f"{entry.role}'s {entry.interface} to be up and connected",
                lambda: "carrier" in _probe(host, peer),
                seconds=5,
            )
    if captures and "capture" not in said:
        why = one_line(" ".join(said.get("capture_error", []))) or "it did not say why"
        raise lacks(
            "the right to capture",
            f"tcpdump said: {why}; log in as root, let {' '.join(said.get('user', ['the user']))} run tcpdump and kill "
            "with sudo -n, or run there: sudo setcap cap_net_raw,cap_net_admin+ep $(command -v tcpdump)",
        )
    return HostFacts(
        kernel=" ".join(said.get("kernel", [])),
        system=" ".join(said.get("system", [])),
        tcpdump=" ".join(said.get("tcpdump_version", [])),
        ssh=" ".join(said.get("ssh_version", [])),
        user=" ".join(said.get("user", [])),
        captures=" ".join(said["capture"]) if captures else None,
        immediate="immediate" in said,
        hashes="sha256sum" in present,
        clock_ahead=round(int(said["clock"][0]) + 0.5 - here) if said.get("clock", [""])[0].isdecimal() else 0,
        unchecked=tuple(_unchecked(host, present, captures=captures)),
        others=_others(said, host, peer),
    )


def preflight(testbed: Testbed, announce: Announce = quietly, *, both: bool = False) -> dict[str, HostFacts]:
    """Check both hosts; returns the facts by role.

    That each host's sshd answers is known already: the harness is logged in.

    Args:
        testbed: the hosts.
        announce: told what is worth a line, of hosts that are not the harness's own.
        both: whether the client host is to capture, too.

    Raises:
        HarnessError: the first lack found.
    """
    server, client = testbed.hosts
    found = together(
        lambda: _check(server, client, ("tcpdump", "ssh"), captures=True),
        lambda: _check(client, server, ("tcpdump",) if both else (), captures=both),
    )
    facts = {
        role: replace(one, shared=not testbed.owned) for role, one in zip(("server", "client"), found, strict=True)
    }
    if not testbed.owned:
        for role, one in facts.items():
            for line in one.told(role):
                announce(line)
    return facts
