"""The verdict is about the lab's connection, whoever else talks between the same two hosts on the same port."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.captures.reading import load_capture
from harness.tcp.conversation import conversations
from tests.live.conftest import Lab
from tests.live.sites import Site, another_sshd

_OPTIONS = (
    *("-F", "/dev/null", "-i", "/run/lab/server/company", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
    *("-o", "UserKnownHostsFile=/dev/null"),
)
_TALK = "while :; do date; sleep 0.02; done"
_SCAN = "while :; do ssh-keyscan -t ed25519 -T 2 192.168.1.64 >/dev/null 2>&1; sleep 0.1; done"


@pytest.fixture
def company(site: Site) -> Iterator[Site]:
    """Two machines between which three ssh sessions talk, and one that is looked at again and again by a scanner."""
    server = site.doors.testbed.server
    server.shell("umask 077; cat >/run/lab/server/company", stdin=(site.folder / "id_ed25519").read_text())
    with ExitStack() as stack:
        for _ in range(3):
            talking = stack.enter_context(server.start("ssh", *_OPTIONS, "root@192.168.1.64", _TALK))
            talking.wait_for_output("it talked", "20", seconds=30)
        stack.enter_context(server.start("sh", "-c", _SCAN))
        yield site


def by_way_of_the_server(site: Site, stack: ExitStack) -> None:
    """The harness reaches the client host through the server host: over the lab link, to the same port 22."""
    del site.proxies["client"]
    site.aliases["client"] = "192.168.1.64"
    site.ssh_config = (
        f"Host 192.168.1.64\n  ProxyJump gate\nHost gate\n  ProxyCommand {site.doors.proxy('server', 2222)}\n"
        f"  HostKeyAlias lab-server\n  User root\n  IdentityFile {site.folder / 'id_ed25519'}\n  IdentitiesOnly yes\n"
    )
    stack.enter_context(another_sshd(site.doors.testbed.server, 2222, "AllowTcpForwarding yes\n"))


@pytest.mark.parametrize("way", ["beside the link", "over the link"])
@pytest.mark.parametrize("lab", ["handshake", "article"])
def test_other_sessions(company: Site, start: Lab, tmp_path: Path, lab: str, way: str) -> None:
    """All points, of the connection that ssh told of; what was there before is not even in the capture."""
    with ExitStack() as stack:
        if way == "over the link":
            by_way_of_the_server(company, stack)
        before = company.look()
        words = ("run", "--lab", lab, "--inventory", company.inventory_file, "--out", tmp_path / "run", "--json")
        finished = start(*words).finish()
        assert finished.status == 0, finished.stdout[-3000:]
        results = json.loads(finished.stdout)
        assert results["score"] == 100
        assert company.look() == before
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    found = conversations(load_capture(tmp_path / "run" / "capture.pcap").segments)
    assert results["connection"]["initiator"] == run["four_tuple"]["initiator"]
    assert len({one.initiator for one in found}) > 1  # the scanner is there
    excluded = re.findall(r"not port (\d+)", run["commands"]["tcpdump"][-1])
    assert len(excluded) >= (4 if way == "over the link" else 3)
    assert not [one for one in found if one.initiator.rpartition(":")[2] in excluded]


def test_a_window_that_is_opened_meanwhile(site: Site, start: Lab, tmp_path: Path) -> None:
    """A session that begins after the capture did, and never ends, keeps nobody waiting."""
    server = site.doors.testbed.server
    server.shell("umask 077; cat >/run/lab/server/company", stdin=(site.folder / "id_ed25519").read_text())
    words = ("run", "--lab", "article", "--inventory", site.inventory_file, "--out", tmp_path / "run")
    running = start(*words)
    running.wait_for_step("list six packets while both are typed into")
    with server.start("ssh", *_OPTIONS, "root@192.168.1.64", _TALK):
        finished = running.finish()
    assert finished.status == 0, finished.stdout
    found = conversations(load_capture(tmp_path / "run" / "capture.pcap").segments)
    assert [one.is_over for one in found].count(False) == 1


def test_another_capture(site: Site, start: Lab, tmp_path: Path) -> None:
    """Another tcpdump on the same interface goes on, undisturbed, and disturbs nothing."""
    server = site.doors.testbed.server
    with server.start(
        "sh", "-c", "exec tcpdump --immediate-mode -i ens33 -U -w - >/run/lab/server/other.pcap"
    ) as other:
        other.wait_for_output("it listened", "listening on", "stderr")
        done = start(
            "run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run", "--json"
        ).finish()
        assert json.loads(done.stdout)["score"] == 100
        assert other.runs
        said = other.stop("INT")
    assert int(re.findall(r"(\d+) packets? captured", said.stderr)[0]) > 40
