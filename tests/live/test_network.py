"""What `harness.traffic.network` changes on the hosts is as it was when its block is left, whatever happened in it."""

from contextlib import suppress

import pytest

from harness.errors import HarnessError
from harness.hosts.embedded import embedded
from harness.hosts.host import Host
from harness.inventory import load_inventory
from harness.traffic.network import Network
from harness.traffic.shapes import BOTH_WAYS, Connection, Loss, Shape, Side
from tests.live.watching import ROOT

LOOK = """
PATH=$PATH:/usr/sbin:/sbin
sysctl -a 2>/dev/null | grep -E '^net\\.ipv4\\.(conf|neigh|tcp_)' | grep -v -E 'tcp_(mem|fastopen_key|available)'
nft list ruleset && ip -4 route show table all && ip rule && ip -4 neigh show nud permanent
"""


def folders(hosts: dict[Side, Host]) -> dict[Side, str]:
    return {side: host.shell("exec mktemp -d").text.strip() for side, host in hosts.items()}


def looks(hosts: dict[Side, Host]) -> list[str]:
    return [line for host in hosts.values() for line in host.shell(LOOK).text.splitlines()]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("known", [False, True], ids=["nobody known", "a neighbour known before"])
def test_all_is_put_back(known: bool) -> None:
    """Settings, rules, routes and neighbours: changed within the block, and as before after an error in it."""
    with embedded(load_inventory(ROOT / "inventory.yaml")) as testbed:
        hosts: dict[Side, Host] = {"i": testbed.server, "r": testbed.client}
        if known:
            for one, other in BOTH_WAYS:
                hosts[one].shell(
                    'ip neigh replace "$1" dev ens33 lladdr 02:00:00:00:00:07 nud permanent', hosts[other].entry.address
                )
        lost = Connection(Shape("lost", "", "", "", losses=(Loss("i", "syn"), Loss("r", "ack", seen=False))), 10000)
        network = Network.of(hosts, folders(hosts), [lost])
        before = looks(hosts)
        with suppress(HarnessError), network.in_force():
            network.be_patient()
            network.hold("i")
            assert looks(hosts) != before
            raise HarnessError("something went wrong")
        assert looks(hosts) == before


@pytest.mark.usefixtures("namespaces")
def test_rules_that_are_refused() -> None:
    """If a host refuses a step it says which, and what had been changed before is put back."""
    with embedded(load_inventory(ROOT / "inventory.yaml")) as testbed:
        hosts: dict[Side, Host] = {"i": testbed.server, "r": testbed.client}
        lost = Connection(Shape("lost", "", "", "", losses=(Loss("i", "syn"),)), 70000)  # no port
        before = looks(hosts)
        with (
            pytest.raises(HarnessError, match="client: sh ended with status 1"),
            Network.of(hosts, folders(hosts), [lost]).in_force(),
        ):
            raise AssertionError("it was in force")
        assert looks(hosts) == before
