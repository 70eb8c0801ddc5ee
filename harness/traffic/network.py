"""The lab link while connections are made: what is lost on it, and whether its packets are held back.

What is lost is dropped by nftables in the hosts, so often as is wanted and no more, by connection and by kind. What is
dropped in its receiver's input hook both hosts' captures show (they tap before); what in its sender's output hook,
neither. What is to cross on the way is held back: while a host does not know its peer's hardware address, its packets
wait in its neighbour table, before the capture, and all leave in order when it is told that.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from harness.hosts.host import Host, undone_by
from harness.hosts.leftovers import UNDO
from harness.traffic.shapes import Connection, Loss, Side

_KINDS = {
    "syn": "tcp flags & (syn | ack) == syn",
    "syn-ack": "tcp flags & (syn | ack) == (syn | ack)",
    "ack": "tcp flags & (fin | syn | rst | psh | ack) == ack",
    "ack-of-fin": "tcp flags & (fin | syn | rst | psh | ack) == ack",
    "data": "tcp flags & psh == psh",
    "fin": "tcp flags & fin == fin",
    "rst": "tcp flags & rst == rst",
}


# $1: the interface, $2: the peer. Prints what is to be changed as it stands: "key value" lines.
_AS_IT_IS = """
PATH=$PATH:/usr/sbin:/sbin
for name in net.ipv4.conf.$1.arp_ignore net.ipv4.neigh.$1.mcast_solicit net.ipv4.neigh.$1.unres_qlen_bytes \\
    net.ipv4.tcp_fastopen net.ipv4.tcp_tw_reuse net.ipv4.tcp_syn_linear_timeouts; do
    value=$(sysctl -n "$name" 2>/dev/null) && echo "setting $name=$value"
done
echo "route $(ip -o -4 route show dev "$1" scope link | head -n 1)"
ip neigh show "$2" dev "$1" nud permanent | sed -n 's/.*lladdr \\([^ ]*\\).*/neighbour \\1/p'
echo "hardware $(cat "/sys/class/net/$1/address")"
"""
_SETTINGS = """
PATH=$PATH:/usr/sbin:/sbin
set -e
sysctl -q -w net.ipv4.conf.$1.arp_ignore=8 net.ipv4.neigh.$1.mcast_solicit=100 \\
    net.ipv4.neigh.$1.unres_qlen_bytes=16777216 net.ipv4.tcp_fastopen=519 net.ipv4.tcp_tw_reuse=1
# Since Linux 6.5 the first waits for a SYN's answer do not grow; RFC 6298 §5.5 doubles them.
sysctl -q -w net.ipv4.tcp_syn_linear_timeouts=0 2>/dev/null || true
"""
# $1: the interface, $2: the peer, $3: its hardware address if it was known before, $4: the link's route; then settings.
_UNDO = """
PATH=$PATH:/usr/sbin:/sbin
interface=$1 peer=$2 neighbour=$3 route=$4
shift 4
nft delete table ip tcp_lab 2>/dev/null
# shellcheck disable=SC2086
[ -z "$route" ] || ip route replace $route dev "$interface" scope link
if [ -n "$neighbour" ]; then
    ip neigh replace "$peer" dev "$interface" lladdr "$neighbour" nud permanent
else
    ip neigh del "$peer" dev "$interface" 2>/dev/null
fi
sysctl -q -w "$@"
"""
_KNOW = 'PATH=$PATH:/usr/sbin:/sbin; ip neigh replace "$1" dev "$2" lladdr "$3" nud permanent'
_FORGET = 'PATH=$PATH:/usr/sbin:/sbin; ip neigh del "$1" dev "$2"'
# While packets are held back nothing is to be sent again, for that would overtake them (ip-route(8), rto_min).
_PATIENCE = """
PATH=$PATH:/usr/sbin:/sbin
exec ip route replace "$(ip -o -4 route show dev "$1" scope link | cut -d' ' -f1)" dev "$1" src "$2" rto_min "$3"
"""
_RULES = "PATH=$PATH:/usr/sbin:/sbin; exec nft -f -"
_LOST = "PATH=$PATH:/usr/sbin:/sbin; exec nft -j list table ip tcp_lab"


def _port(side: Side, hook: str) -> str:
    """The expression for the initiator's port in a hook of that side's host."""
    return "tcp sport" if (side == "i") == (hook == "output") else "tcp dport"


def ruleset(side: Side, losses: dict[Loss, list[int]]) -> str:
    """The nftables rules of one side's host."""
    sets = ["set fin_input { type inet_service; flags dynamic; size 65535; }"]
    sets += ["set fin_output { type inet_service; flags dynamic; size 65535; }"]
    rules: dict[str, list[str]] = {"input": [], "output": []}
    for loss, ports in sorted(losses.items()):
        at, hook = loss.place
        if at != side:
            continue
        port = _port(side, hook)
        sets.append(f"set {loss.name} {{ type inet_service; elements = {{ {', '.join(map(str, ports))} }}; }}")
        match = f"{port} @{loss.name} {_KINDS[loss.kind]}"
        if loss.kind == "ack-of-fin":
            match += f" {port} @fin_{'output' if hook == 'input' else 'input'}"
        for number in range(1, (loss.times or 1) + 1):
            lost = f"{loss.name}_lost_{number}"
            sets.append(f"set {lost} {{ type inet_service; flags dynamic; size 65535; }}")
            once = f" {port} != @{lost}" if loss.times else ""
            rules[hook].append(f"{match}{once} add @{lost} {{ {port} }} drop")
    for hook, lines in rules.items():
        lines.append(f"tcp flags & fin == fin add @fin_{hook} {{ {_port(side, hook)} }}")
    chains = [
        "\n".join((f"chain {hook} {{ type filter hook {hook} priority 0;", *lines, "}"))
        for hook, lines in rules.items()
    ]
    return "\n".join(("table ip tcp_lab {", *sets, *chains, "}"))


@dataclass
class Network:
    """The lab link: what is lost on it, and whether its packets are held back.

    Attributes:
        hosts: at both ends of it.
        folders: the run's folder on each, where it is noted how to put all back (see `harness.hosts.leftovers`).
        losses: what is lost, and of which connections (the initiator's ports).
        patience: how long nothing is sent again while packets are held back, as ip-route(8) has it for rto_min; to be
            longer than releasing them takes, on slow machines too.
        hardware: each end's hardware address, once it is in force.
    """

    hosts: dict[Side, Host]
    folders: dict[Side, str]
    losses: dict[Loss, list[int]]
    patience: str = "1500ms"
    hardware: dict[Side, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        hosts: dict[Side, Host],
        folders: dict[Side, str],
        connections: Iterable[Connection],
        patience: str = "1500ms",
    ) -> "Network":
        """One on which what these connections are to lose is lost."""
        losses: dict[Loss, list[int]] = {}
        for connection in connections:
            for loss in connection.shape.losses:
                losses.setdefault(loss, []).append(connection.port)
        return cls(hosts, folders, losses, patience)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Settings, addresses and rules, while the block runs; then all is as it was, whatever happened.

        Raises:
            HarnessError: a host refused it: it takes root, iproute2, procps and nftables.
        """
        with ExitStack() as stack:
            for side in self.hosts:
                stack.enter_context(self._put_back(side))
            for side, host in self.hosts.items():
                host.shell(_SETTINGS, host.entry.interface)
                self.release(side)
                host.shell(_RULES, stdin=ruleset(side, self.losses))
            yield

    @contextmanager
    def _put_back(self, side: Side) -> Iterator[None]:
        """Note how a host is set, and set it so again when the block is left."""
        host, other = self.hosts[side], self.hosts["r" if side == "i" else "i"]
        place = host.entry.interface, other.entry.address
        found: dict[str, list[str]] = {}
        for line in host.shell(_AS_IT_IS, *place).text.splitlines():
            key, _, value = line.partition(" ")
            found.setdefault(key, []).append(value.strip())
        self.hardware[side] = found["hardware"][0]
        before = found.get("neighbour", [""])[0], found["route"][0]
        words = shlex.join((*place, *before, *found["setting"]))
        host.shell('cat >"$1"', f"{self.folders[side]}/{UNDO}", stdin=f"set -- {words}\n{_UNDO}")
        with undone_by(host, 'cd "$1" && sh "./$2"; rm -f "./$2"', self.folders[side], UNDO):
            yield

    def _peer(self, side: Side) -> tuple[str, str, str]:
        other: Side = "r" if side == "i" else "i"
        return self.hosts[other].entry.address, self.hosts[side].entry.interface, self.hardware[other]

    def be_patient(self) -> None:
        """Let new connections wait longer before they send again."""
        for host in self.hosts.values():
            host.shell(_PATIENCE, host.entry.interface, host.entry.address, self.patience)

    def hold(self, side: Side) -> None:
        """Keep back what that side sends."""
        address, interface, _ = self._peer(side)
        self.hosts[side].shell(_FORGET, address, interface)

    def let_go(self, side: Side) -> None:
        """Let go what that side has sent so far; what it sends from now on is held back again."""
        self.hosts[side].shell(f"{_KNOW} && {_FORGET}", *self._peer(side))

    def release(self, side: Side) -> None:
        """Let go what that side has sent, and hold back nothing more."""
        self.hosts[side].shell(_KNOW, *self._peer(side))

    def lost(self) -> dict[tuple[Loss, int], set[int]]:
        """What was dropped."""
        found: dict[str, set[int]] = {}
        for host in self.hosts.values():
            for entry in json.loads(host.shell(_LOST).text)["nftables"]:
                if "set" in entry:
                    found[entry["set"]["name"]] = set(entry["set"].get("elem", ()))
        return {
            (loss, number): found[f"{loss.name}_lost_{number}"]
            for loss in self.losses
            for number in range(1, (loss.times or 1) + 1)
        }
