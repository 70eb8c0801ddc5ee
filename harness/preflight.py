"""Before the experiment: can these two hosts do it? Every lack is one line: host, what was expected, what to do."""

from dataclasses import dataclass

from harness.errors import HarnessError, one_line
from harness.hosts.host import Host, Testbed, together
from harness.waiting import wait_for

# One round trip a host: everything preflight wants to know, as "key value" lines. Needs nothing but a POSIX shell.
_PROBE = """
PATH=$PATH:/usr/sbin:/sbin
interface=$1 peer=$2
for tool in tcpdump ssh ip sha256sum; do
    command -v "$tool" >/dev/null 2>&1 && echo "tool $tool"
done
echo "uid $(id -u)"
echo "kernel $(uname -sr)"
echo "system $(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")"
echo "tcpdump_version $(tcpdump --version 2>&1 | head -n 1)"
echo "ssh_version $(ssh -V 2>&1)"
for path in /sys/class/net/*; do echo "interface ${path##*/}"; done
ip -o -4 addr show dev "$interface" 2>/dev/null | while read -r _ _ _ address _; do echo "address ${address%/*}"; done
ip -o link show dev "$interface" 2>/dev/null | grep -q LOWER_UP && echo "carrier yes"
tcpdump -i "$interface" -d >/dev/null 2>&1 && echo "capture yes" ||
    echo "capture_error $(tcpdump -i "$interface" -d 2>&1 >/dev/null | tail -n 1)"
ip route get "$peer" 2>/dev/null | head -n 1 | while read -r line; do echo "route $line"; done
true
"""

_PACKAGES = {"tcpdump": "tcpdump", "ssh": "openssh-client", "ip": "iproute2", "sha256sum": "coreutils"}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What preflight learned of a host; goes into run.json.

    Attributes:
        kernel: `uname -sr`.
        system: the distribution's name.
        tcpdump: its version line.
        ssh: its version line.
    """

    kernel: str
    system: str
    tcpdump: str
    ssh: str


def _probe(host: Host, peer: Host) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in host.shell(_PROBE, host.entry.interface, peer.entry.address).text.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    return said


def _check(host: Host, peer: Host, tools: tuple[str, ...], *, captures: bool) -> HostFacts:
    entry = host.entry

    def lacks(expected: str, mend: str) -> HarnessError:
        return HarnessError(f"{entry.role} ({entry.address}): expected {expected}; {mend}")

    said = _probe(host, peer)
    present = said.get("tool", [])
    for tool in tools:
        if tool not in present:
            raise lacks(f"{tool} to be installed", f"install the package {_PACKAGES[tool]} there")
    interfaces = said.get("interface", [])
    if interfaces != ["*"] and entry.interface not in interfaces:
        raise lacks(
            f"an interface {entry.interface}",
            f"it has {', '.join(sorted(interfaces))}; name the lab link's in the inventory",
        )
    if "ip" in present:
        addresses = said.get("address", [])
        if entry.address not in addresses:
            found = ", ".join(addresses) or "no IPv4 address"
            raise lacks(f"{entry.address} on {entry.interface}", f"it carries {found}; mend the inventory or the host")
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
            f"tcpdump said: {why}; log in as root, or run there: "
            "sudo setcap cap_net_raw,cap_net_admin+ep $(command -v tcpdump)",
        )
    return HostFacts(
        kernel=" ".join(said.get("kernel", [])),
        system=" ".join(said.get("system", [])),
        tcpdump=" ".join(said.get("tcpdump_version", [])),
        ssh=" ".join(said.get("ssh_version", [])),
    )


def preflight(testbed: Testbed) -> dict[str, HostFacts]:
    """Check both hosts; returns the facts by role.

    That each host's sshd answers is known already: the harness is logged in.

    Raises:
        HarnessError: the first lack found.
    """
    server, client = testbed.hosts
    facts = together(
        lambda: _check(server, client, ("tcpdump", "ssh", "sha256sum"), captures=True),
        lambda: _check(client, server, (), captures=False),
    )
    return dict(zip(("server", "client"), facts, strict=True))
