"""What the provider `hosts` promises: the same experiment on two machines that it did not make, and leaves as found."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.evidence import evidence_of_run
from harness.experiment import run_experiment
from harness.grading.judging import judge
from harness.hosts.existing import existing
from harness.hosts.keys import new_key_pair
from harness.runs import new_run_folder
from tests.live.conftest import Lab
from tests.live.sites import Site
from tests.live.watching import SECONDS, processes

pytestmark = pytest.mark.usefixtures("namespaces")


def refusal(site: Site) -> str:
    """Why the hosts could not be reached: one line, and no proxy is left behind."""
    with pytest.raises(HarnessError) as raised, existing(site.inventory):
        pass
    assert site.proxies_left() == []
    said = str(raised.value)
    assert said.isprintable()
    return said


def test_experiment_on_two_hosts(site: Site, tmp_path: Path) -> None:
    """The experiment runs on hosts that exist already, closes as is, and earns all points."""
    before, steps = site.look(), list[str]()
    experiment = run_experiment(site.inventory, "hosts", None, steps.append)
    assert (experiment.provider, experiment.details["close_asked"]) == ("hosts", "as-is")
    assert experiment.captured.disagreement() is None
    assert steps[0] == "bring up the two hosts"
    assert steps[-1] == "take all down"
    assert site.look() == before
    assert site.guests() == []
    assert site.proxies_left() == []
    with new_run_folder(tmp_path / "run", tmp_path, "handshake") as (folder, final):
        experiment.write(folder)
    results = judge("handshake", evidence_of_run(final[0]), "hosts")
    assert (results.outcome, results.score) == ("passed", 100)
    assert results.connection
    assert results.connection["close"] in {"four-segment", "three-segment", "simultaneous"}


def test_front_door_to_two_hosts(site: Site, start: Lab, tmp_path: Path) -> None:
    """`provider: hosts` in the inventory is all that `./invoke run-handshake-lab` needs to know."""
    before = site.look()
    finished = start(
        "run-handshake-lab", "--inventory", site.inventory_file, "--json", "--out", tmp_path / "run"
    ).finish()
    assert (finished.status, finished.stderr) == (0, "")
    results = json.loads(finished.stdout)
    assert (results["provider"], results["score"]) == ("hosts", 100)
    assert site.look() == before
    assert site.guests() == []
    assert site.proxies_left() == []


@pytest.mark.parametrize("step", ["check both hosts", "open ssh from server to client"])
def test_interrupted_run_leaves_the_hosts_as_they_were(site: Site, start: Lab, tmp_path: Path, step: str) -> None:
    """Ctrl-C in the middle of a run: no key, no folder, no process stays on the two machines."""
    before = site.look()
    running = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run")
    running.wait_for_step(step)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.finish().refusal.startswith("interrupted: ")
    deadline = time.monotonic() + SECONDS / 10
    while (site.look() != before or site.guests()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert site.look() == before
    assert site.guests() == []
    assert site.proxies_left() == []
    assert not (tmp_path / "run").exists()


def test_hosts_by_address(site: Site) -> None:
    """Without an alias ssh_config is looked up by the address."""
    site.aliases = {host.role: host.entry.address for host in site.doors.testbed.hosts}
    inventory = site.inventory
    inventory = replace(
        inventory, server=replace(inventory.server, ssh_alias=None), client=replace(inventory.client, ssh_alias=None)
    )
    with existing(inventory) as testbed:
        assert (testbed.provider, testbed.owned) == ("hosts", False)
        assert [host.run("hostname").text for host in testbed.hosts] == ["server\n", "client\n"]
    assert site.proxies_left() == []


def test_wrong_host_key(site: Site) -> None:
    """A host that shows another key than known_hosts has is not talked to; both fingerprints are told."""
    site.host_keys["client"] = new_key_pair().public
    said = refusal(site)
    assert said.startswith("client (root@lab-client port 22): connecting: wrong host key: pinned is ")
    assert said.count("SHA256:") == 2


def test_unknown_host_key(site: Site) -> None:
    """A host whose key is not known is not talked to; the mend is told."""
    del site.host_keys["server"]
    said = refusal(site)
    assert said.startswith("server (root@lab-server port 22): connecting: ")
    assert "known_hosts" in said


def test_refused_login(site: Site) -> None:
    """A key that the host does not know is refused; user and identity_file are what to look at."""
    identity = site.folder / "id_ed25519"
    identity.write_text(new_key_pair().private, encoding="utf-8")
    said = refusal(site)
    assert said.startswith("server (root@lab-server port 22): connecting: sshd refused the login")
    assert "identity_file" in said


def test_missing_identity_file(site: Site) -> None:
    """An identity_file that is not there is one line."""
    (site.folder / "id_ed25519").unlink()
    assert refusal(site).startswith("server (root@lab-server port 22): connecting: ")


@pytest.mark.parametrize("command", ["false", "sh -c 'read -r banner; echo no route to the jump host >&2; exit 1'"])
def test_proxy_that_ends(site: Site, start: Lab, tmp_path: Path, command: str) -> None:
    """A ProxyCommand that ends without having reached the host is told at once, in one line."""
    site.proxies["client"] = command
    began = time.monotonic()
    running = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run")
    assert running.finish().refusal.startswith("client (root@lab-client port 22): connecting: ")
    assert time.monotonic() - began < 10
    assert site.proxies_left() == []
    assert not (tmp_path / "run").exists()


def test_proxy_that_is_not_there(site: Site) -> None:
    """A ProxyCommand that cannot be run is one line about that host."""
    site.proxies["client"] = "/nonexistent/proxy"
    assert refusal(site).startswith("client")


def test_lost_connection_is_noticed(site: Site) -> None:
    """When the way to a host breaks during a command, that is told, and soon."""
    with existing(site.inventory) as testbed:
        began = time.monotonic()
        with testbed.server.start("sleep", "1000") as sleeper:
            for process in processes():
                if site.doors.name in process.command and process.command.rstrip().endswith(" server"):
                    os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(HarnessError, match=r"^server: the connection was lost while sleep ran"):
                sleeper.wait(seconds=10)
        assert time.monotonic() - began < 5
