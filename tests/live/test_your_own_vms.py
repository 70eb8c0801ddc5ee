"""docs/your-own-vms.md from two fresh machines to the verdict, on machines that the harness did not make.

They are plain virtual machines, started by the test, and reached as one's own are: at their addresses on the lab link,
to which this machine is connected by a bridge, in a network namespace.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.announcing import quietly
from harness.hosts.holder import enter_network
from harness.hosts.image import image, images
from harness.hosts.keys import new_key_pair
from harness.hosts.machines import accelerator, start
from harness.hosts.pair import planned
from harness.inventory import load_inventory
from tests.live.conftest import Lab
from tests.live.machines import SECONDS, SECONDS_EACH, alone, built, quick
from tests.live.watching import ROOT, Finished

__all__ = ["SECONDS_EACH", "alone", "built", "quick"]  # fixtures, and the deadline of each test
pytestmark = pytest.mark.usefixtures("root", "quick")

LABS = ("handshake", "article", "teardown", "lost-last-ack")
_BRIDGE = """
set -e
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
ip link add lab type bridge
for host in server client; do
    ip tuntap add dev "to-$host" mode tap
    ip link set "to-$host" master lab up
done
ip address add 192.168.1.1/24 dev lab
ip link set lab up
echo ready
read -r _
"""


@contextmanager
def _network() -> Iterator[Path]:
    """A network namespace with a bridge to both machines; its file in /proc."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", _BRIDGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        said = holder.stdout.readline()
        if said != "ready\n":
            holder.stdin.close()
            pytest.skip(f"no bridge with two taps can be made here: {said}{holder.stdout.read()}")
        yield Path(f"/proc/{holder.pid}/ns/net")
        holder.stdin.close()


@contextmanager
def _inside(network: Path) -> Iterator[None]:
    """What this thread starts is in the network."""
    home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(network, os.O_RDONLY)
    try:
        enter_network(there)
        yield
    finally:
        enter_network(home)
        os.close(home)
        os.close(there)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two plain machines, up; their network, and the owner's folder with his key and inventory."""
    owners = tmp_path / "owner"
    owners.mkdir()
    key = new_key_pair()
    (owners / "id_ed25519").touch(mode=0o600)
    (owners / "id_ed25519").write_text(key.private, encoding="ascii")
    inventory = load_inventory(ROOT / "inventory.yaml")
    document = yaml.safe_load((ROOT / "inventory.yaml").read_text(encoding="utf-8"))
    document["provider"] = "hosts"
    for entry in document["hosts"].values():
        entry["identity_file"] = str(owners / "id_ed25519")
    (owners / "inventory.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    folder = tmp_path / "machines"
    folder.mkdir()
    made = image(quietly)
    with _network() as network, ExitStack() as stack:
        up = []
        for plan in planned(inventory)[1]:
            files = {name: text for name, text in plan.files.items() if name not in ("id_ed25519", "known_hosts")}
            files["authorized_keys"] = f"{key.public} owner\n"
            plain = replace(plan, files=files, link=f"tap,ifname=to-{plan.role},script=no,downscript=no")
            with _inside(network):
                machine = start(plain, folder, made, accelerator(made, images()))
            stack.callback(machine.stop)
            up.append(machine)
        for machine in up:
            machine.wait_until_ready()
        yield network, owners


def test_from_two_fresh_machines_to_the_verdict(machines: tuple[Path, Path], start: Lab, tmp_path: Path) -> None:
    """The labs pass on hosts of one's own, with the harness's ssh on the very link that is captured."""
    network, owners = machines
    prefix = ("nsenter", f"--net={network}")

    def run(*arguments: str | Path) -> Finished:
        inventory = ("--inventory", owners / "inventory.yaml")
        return start(*arguments, *inventory, prefix=prefix, home=owners).finish(seconds=SECONDS)

    refusal = run("run-handshake-lab", "--out", tmp_path / "run").refusal
    assert "./invoke trust" in refusal
    trusted = run("trust", "--yes")
    assert trusted.status == 0, trusted
    shown = re.findall(r"ED25519 (SHA256:\S+)", trusted.stdout)
    assert len(set(shown)) == 2

    for lab in LABS:
        finished = run("run", "--lab", lab, "--out", tmp_path / lab, "--json")
        assert finished.status == 0, (lab, finished)
        results = json.loads(finished.stdout)
        assert (results["provider"], results["outcome"], results["score"]) == ("hosts", "passed", 100)
    both = run("run-handshake-lab", "--both", "--out", tmp_path / "both", "--json")
    assert both.status == 0, both
    vantage = json.loads((tmp_path / "both" / "vantage.json").read_text(encoding="utf-8"))
    assert vantage["schema"] == "tcp-lab/vantage/v1"
    cleaned = run("clean")
    assert (cleaned.status, "nothing was left" in cleaned.stdout) == (0, True), cleaned
