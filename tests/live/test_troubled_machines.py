"""A lossy link between two machines, and a machine that reboots: neither makes a mark."""

from pathlib import Path

import pytest

from harness.announcing import quietly
from harness.errors import HarnessError
from harness.hosts import kept
from harness.inventory import Inventory
from tests.live.happening import CLOSE, OPEN, STOP, Rig, on
from tests.live.machines import SECONDS_EACH, alone, built, machines, quick, wait_until_gone

__all__ = ["SECONDS_EACH", "alone", "built", "quick"]  # fixtures, and the deadline of each test

# Where the client host is connected to the link: a fifth is lost in either direction, a quarter overtakes the rest.
LOSSY = """
set -e
modprobe -a sch_netem ifb act_mirred cls_matchall sch_ingress
[ -e /sys/class/net/ifb0 ] || ip link add ifb0 type ifb
ip link set ifb0 up
tc qdisc add dev ens33 ingress
tc filter add dev ens33 parent ffff: matchall action mirred egress redirect dev ifb0
for device in ens33 ifb0; do
    tc qdisc replace dev "$device" root netem loss 20% delay 3ms reorder 25% 50%
done
"""
WHOLE = "for device in ens33 ifb0; do tc qdisc del dev $device root; done; tc qdisc del dev ens33 ingress"


@pytest.mark.usefixtures("quick")
def test_a_lossy_link_and_a_reboot(inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No check fails that should not; then the server host reboots during a session: could not be judged."""
    rig = Rig(inventory, tmp_path, monkeypatch, "vm")
    kept.up(inventory, quietly)
    try:
        try:
            _, results = rig.run({OPEN: on("client", LOSSY), STOP: on("client", WHOLE)})
        except HarnessError as error:
            if "ssh did not " not in str(error):  # so much was lost that the session came to no end in time
                raise
        else:
            assert not [check for check in results.checks if check.outcome == "failed"]

        rig.folder = tmp_path / "reboot"
        rig.folder.mkdir()
        with pytest.raises(HarnessError) as raised:
            rig.run({CLOSE: lambda testbed: testbed.server.start("sh", "-c", "sleep 0.2; echo b >/proc/sysrq-trigger")})
        assert str(raised.value).startswith("vm: the server's machine died (")
        assert list(rig.folder.iterdir()) == []
        assert len(machines()) == 1
    finally:
        kept.down()
    assert not wait_until_gone()
