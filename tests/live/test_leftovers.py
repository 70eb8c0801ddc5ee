"""What a run leaves on hosts that are not the harness's: nothing; also when it was killed, and two at once."""

import os
import re
import secrets
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.existing import existing
from harness.hosts.host import Host
from harness.hosts.keys import new_key_pair
from harness.hosts.lock import KEEPER, LOCK, alone
from harness.observer import observing
from harness.session import prepared
from tests.live.conftest import Lab
from tests.live.sites import Site
from tests.live.watching import Finished, Invocation

GONE_SECONDS = 10.0

# Things of others', which look almost as ours do.
_FOREIGN = """
PATH=$PATH:/usr/sbin:/sbin
key=$1 peer=$2
{
    echo "$key tcp-lab-mine"
    echo "$key bob-tcp-lab-0123abcd"
    echo "from=\\"10.0.0.1\\" $key tcp-lab-0123abcd extra"
    echo "$key tcp-lab-0123abcd"
    echo "# tcp-lab-0123abcd"
} >>~/.ssh/authorized_keys
mkdir /tmp/tcp-lab-notes.abcdef /tmp/tcp-lab-0123abcd /tmp/my-tcp-lab-0123abcd.abcdef
mkdir /tmp/elsewhere && ln -s /tmp/elsewhere /tmp/tcp-lab-0123abce.abcdef
echo "$peer/32 quickack 1" >/tmp/elsewhere/route
touch /tmp/tcp-lab-0123abcd.abcdefg ~/.ssh/authorized_keys.tcp-lab-mine
[ "$(id -u)" != 0 ] || ip route add "$peer/32" dev ens33 quickack 1
"""

# What a killed run leaves; $1: its id, $2: a key, $3: the peer, $4: the role.
_LEFT = """
PATH=$PATH:/usr/sbin:/sbin
umask 077
mkdir "/tmp/tcp-lab-$1.abcdef"
echo "from=\\"$3\\",no-agent-forwarding,no-port-forwarding,no-X11-forwarding $2 tcp-lab-$1" >>~/.ssh/authorized_keys
cp ~/.ssh/authorized_keys ~/.ssh/authorized_keys.tcp-lab-$1
echo "10.9.8.7/32 quickack 1" >"/tmp/tcp-lab-$1.abcdef/route"
[ "$(id -u)" != 0 ] || ip route add 10.9.8.7/32 dev ens33 quickack 1
mkdir "/sys/kernel/tracing/instances/tcp-lab-$1-$4" 2>/dev/null || true
"""
_TRACES = "ls /sys/kernel/tracing/instances 2>/dev/null || true"


def left_of(finished: Finished) -> list[str]:
    """What `clean` lists, without traces: another test's dead run has those in the same kernel."""
    return [line for line in finished.stdout.splitlines() if "trace instance" not in line and "nothing was" not in line]


def as_before(site: Site, before: list[str], seconds: float = GONE_SECONDS) -> list[str]:
    """How the hosts are as soon as they are as before, or at the deadline."""
    deadline = time.monotonic() + seconds
    while (now := site.look()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


@pytest.mark.parametrize(
    "step", ["check both hosts", "open ssh from server to client", "stop tcpdump, fetch the capture"]
)
def test_killed(site: Site, start: Lab, tmp_path: Path, step: str) -> None:
    """When the harness is killed (SIGKILL), both hosts clean themselves up: no key, folder, process or lock stays."""
    before = site.look()
    killed = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run")
    killed.wait_for_step(step)
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.finish()
    assert site.proxies_left() == []
    assert as_before(site, before) == before
    deadline = time.monotonic() + GONE_SECONDS
    while (left := site.guests()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_clean_removes_what_is_marked_and_nothing_else(site: Site, start: Lab) -> None:
    """`./invoke clean` lists what dead runs left and removes it; what only looks similar stays as it is."""
    key = new_key_pair().public
    hosts = site.doors.testbed.hosts
    runs = {host.role: secrets.token_hex(4) for host in hosts}
    for host, peer in zip(hosts, reversed(hosts), strict=True):
        host.shell(_FOREIGN, key, peer.entry.address)
    before = site.look()
    for host, peer in zip(hosts, reversed(hosts), strict=True):
        host.shell(_LEFT, runs[host.role], key, peer.entry.address, host.role)
    stray = hosts[0].start(
        "sh", "-c", 'cd "/tmp/tcp-lab-$1.abcdef" && exec tcpdump -i lo -U -w - >capture.pcap', "sh", runs["server"]
    )
    hosts[0].shell(
        'set -- "$1" "$2" $(sed "s/.*) //" "/proc/$2/stat"); shift 1; echo "$1 ${21}" '
        f'>"/tmp/tcp-lab-{runs["server"]}.abcdef/capture.pcap.process"',
        "",
        str(stray.pid),
    )
    done = start("clean", "--inventory", site.inventory_file).finish()
    assert (done.status, done.stderr) == (0, "")
    for role, run_id in runs.items():
        assert f"{role}: /tmp/tcp-lab-{run_id}.abcdef\n" in done.stdout
        assert f"{role}: its line in " in done.stdout
        if os.geteuid() == 0:
            assert f"{role}: the route 10.9.8.7/32 quickack 1\n" in done.stdout
    assert f"server: its tcpdump, process {stray.pid}\n" in done.stdout
    stray.wait(seconds=5)
    assert site.look() == before
    traces = "".join(host.shell(_TRACES).text for host in hosts)
    assert not [run_id for run_id in runs.values() if run_id in traces]
    again = start("clean", "--inventory", site.inventory_file).finish()
    assert (again.status, left_of(again)) == (0, [])


def test_a_run_removes_what_dead_runs_left(site: Site, start: Lab, tmp_path: Path) -> None:
    """The next run begins with that, and says so."""
    before, run_id = site.look(), secrets.token_hex(4)
    server, client = site.doors.testbed.hosts
    client.shell(_LEFT, run_id, new_key_pair().public, server.entry.address, "client")
    out = tmp_path / "run"
    finished = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", out).finish()
    assert finished.status == 0, finished
    said = f"removed on the client host, left by run {run_id}: "
    assert f"· {said}/tmp/tcp-lab-{run_id}.abcdef\n" in finished.stderr
    assert f"· {said}its line in " in finished.stderr
    assert site.look() == before


def lock(host: Host) -> str:
    """Who holds a host's lock."""
    return host.shell(f"readlink {LOCK}", check=False).text.strip()


def started(start: Lab, site: Site, out: Path) -> Invocation:
    """A run."""
    return start("run-handshake-lab", "--inventory", site.folder / "inventory.yaml", "--out", out)


def test_two_runs_at_once(site: Site, start: Lab, tmp_path: Path) -> None:
    """The second waits for the first, and says whose it is; both earn all points."""
    before, path = site.look(), site.inventory_file
    assert path.exists()
    both = [started(start, site, tmp_path / name) for name in ("one", "two")]
    finished: list[Finished] = [one.finish() for one in both]
    assert [one.status for one in finished] == [0, 0], finished
    waited = [one for one in finished if "· wait for the server host: " in one.stderr]
    assert len(waited) == 1
    assert re.search(
        r"it is used by run [0-9a-f]{8} of \S+@\S+, since 20\S+ \S+ UTC by the host's clock", waited[0].stderr
    )
    assert site.look() == before


def test_a_host_in_use(site: Site) -> None:
    """Whoever does not wait that long is told who holds the host; nothing of the holder's is touched."""
    with existing(site.inventory) as one, existing(site.inventory) as two:
        with alone(one, "0123abcd", lambda _: None):
            before = site.look()
            with pytest.raises(HarnessError) as raised, alone(two, "4567abcd", lambda _: None, patience=0):
                pass
            assert site.look() == before
        assert str(raised.value).startswith("server (192.168.1.63): it is used by run 0123abcd of ")
        assert str(raised.value).endswith("run it again when that has ended")
        with alone(two, "4567abcd", lambda _: None, patience=0) as removed:
            assert removed == {"server": [], "client": []}
            assert lock(one.server).startswith("4567abcd:")
        assert lock(one.server) == ""


@pytest.mark.parametrize("holder", ["0123abcd:4194300:1:ann@far", "0123abcd:1:1:ann@far"])
def test_a_dead_holders_lock_is_taken_over(site: Site, holder: str) -> None:
    """A lock whose keeper is gone, or whose number another process has by now, does not stand in the way."""
    with existing(site.inventory) as testbed:
        testbed.client.shell(f'ln -s "$1" {LOCK}', holder)
        with alone(testbed, "4567abcd", lambda _: None, patience=0):
            assert lock(testbed.client).startswith("4567abcd:")
        assert lock(testbed.client) == ""


def test_many_take_a_dead_holders_lock(site: Site) -> None:
    """However many find a dead lock at the same time, one after the other holds it."""
    script = (
        f'ln -s "0123abcd:4194300:1:ann@far" {LOCK}; for n in 1 2 3 4 5 6 7 8; do '
        '(echo | timeout 60 sh -c "$1" sh "4567abc$n" me 60 >"/tmp/said.$n" 2>&1; [ ! -L "$2.breaking" ]) & done; wait'
    )
    with existing(site.inventory) as testbed:
        testbed.server.run("sh", "-c", script, "sh", KEEPER, LOCK, seconds=60)
        said = testbed.server.shell(
            "grep -c '== alone' /tmp/said.*; grep -v '==' /tmp/said.*; rm /tmp/said.*", check=False
        )
        assert said.text.splitlines() == [f"/tmp/said.{n}:1" for n in range(1, 9)]
        assert lock(testbed.server) == ""


def test_two_hosts_that_are_one(site: Site) -> None:
    """A machine that is both hosts does not wait for itself, and the lock goes with the run."""
    with existing(site.inventory) as made:
        testbed = replace(made, client=made.server)
        with alone(testbed, "4567abcd", lambda _: None, patience=0):
            assert lock(made.server).startswith("4567abcd:")
        assert lock(made.server) == ""


def test_the_key_is_for_one_address(site: Site) -> None:
    """The key of a run opens the client host from the server host's address only, and forwards nothing."""
    with existing(site.inventory) as testbed, prepared(testbed, "4567abcd", "as-is") as ready:
        line = testbed.client.shell("tail -n 1 ~/.ssh/authorized_keys").text
        assert line.startswith(
            'from="192.168.1.63",no-agent-forwarding,no-port-forwarding,no-X11-forwarding ssh-ed25519'
        )
        assert line.endswith(" tcp-lab-4567abcd\n")
        options = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
        there = ("root@192.168.1.64", "true")
        assert testbed.server.run("ssh", "-F", "none", "-i", ready.identity, *options, *there).status == 0
        testbed.client.shell('cat >"$1/stolen"', ready.directory, stdin=testbed.server.fetch(ready.identity))
        stolen = f"{ready.directory}/stolen"
        done = testbed.client.run("ssh", "-F", "none", "-i", stolen, *options, *there, check=False)
        assert done.status != 0
        assert "Permission denied" in done.stderr


@pytest.mark.usefixtures("root")
def test_a_trace_in_use_cannot_be_removed(site: Site) -> None:
    """Not even by who cannot see the process that uses it; when that has ended, it is gone."""
    with existing(site.inventory) as testbed:
        server = testbed.server
        # Where there is Python, it holds the instance, too.
        server.shell("! command -v python3 || mount --bind /dev/null $(command -v python3)")
        with observing(testbed, "4567abcd") as observer:
            instance = "/sys/kernel/tracing/instances/tcp-lab-4567abcd-server"
            if server.shell(f"test -d {instance}", check=False).status:
                pytest.skip("there is no tracefs here")
            assert server.shell(f"rmdir {instance}", check=False).status != 0
            assert observer.finish()["server"].trace is not None
        assert server.shell(f"test -d {instance}", check=False).status == 1
