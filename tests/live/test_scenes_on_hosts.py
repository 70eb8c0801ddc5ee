"""Labs that set routes and packet filters, on hosts that are not the harness's: all is as it was afterwards."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.live.conftest import Lab
from tests.live.sites import Site
from tests.live.test_network import LOOK
from tests.live.watching import Finished

pytestmark = pytest.mark.usefixtures("root")
GONE_SECONDS = 20.0


def _looks(site: Site) -> list[str]:
    """The network's settings on both hosts, and what else a run may touch."""
    return [*(host.shell(LOOK).text for host in site.doors.testbed.hosts), *site.look()]


def _run(start: Lab, site: Site, lab: str, folder: Path) -> Finished:
    return start(
        "run", "--lab", lab, "--inventory", site.inventory_file, "--provider", "hosts", "--out", folder, "--json"
    ).finish()


@pytest.mark.parametrize("lab", ["teardown", "lost-last-ack"])
def test_a_lab_of_scenes(site: Site, start: Lab, tmp_path: Path, lab: str) -> None:
    """The same lab and rubric as on hosts of the harness's own: all points, and the hosts are as they were."""
    before = _looks(site)
    finished = _run(start, site, lab, tmp_path / "run")
    assert (finished.status, finished.complaints) == (0, [])
    results = json.loads(finished.stdout)
    assert (results["provider"], results["outcome"], results["score"]) == ("hosts", "passed", 100)
    assert _looks(site) == before


def test_killed_while_it_plays(site: Site, start: Lab, tmp_path: Path) -> None:
    """kill -9: the hosts put themselves back."""
    before = _looks(site)
    running = start("run", "--lab", "lost-last-ack", "--inventory", site.inventory_file, "--out", tmp_path / "run")
    running.wait_for_step("play the scenes")
    assert _looks(site) != before
    os.kill(running.process.pid, signal.SIGKILL)
    running.finish()
    deadline = time.monotonic() + GONE_SECONDS
    while _looks(site) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _looks(site) == before


def test_a_host_that_lacks_a_tool(site: Site, start: Lab, tmp_path: Path) -> None:
    """What is missing is named, and nothing has been set."""
    site.doors.testbed.client.shell(
        'PATH=$PATH:/usr/sbin; touch /run/lab/empty; mount --bind /run/lab/empty "$(command -v nft)"'
    )
    refusal = _run(start, site, "teardown", tmp_path / "run").refusal
    assert refusal == (
        "client (192.168.1.64): the lab teardown sets routes and packet filters on both hosts and plays connections "
        "there; it lacks: nft"
    )
    assert list(tmp_path.glob("run*")) == []
