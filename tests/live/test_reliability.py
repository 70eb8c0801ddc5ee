"""What is promised when things go wrong meanwhile: docs/reliability.md's table, a test a row, on real hosts."""

import random
import signal
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.host import Testbed
from harness.inventory import Inventory
from tests.live.conftest import Lab
from tests.live.happening import CHECK, CLOSE, OPEN, STOP, Happening, Rig, on, on_both

pytestmark = pytest.mark.usefixtures("namespaces", "root")

LISTENER = "ss -Htlnp 'sport = :22' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p' | head -n 1"
SESSION = "ss -Htnp state established 'sport = :22 and dst 192.168.1.63' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p'"
LOSE = """nft -f - <<END
table ip loss {{
    chain lost {{ type filter hook {hook} priority 0; {way} ens33 numgen random mod 100 < 20 drop; }}
}}
END
"""
LOSE_WHAT_COMES, LOSE_WHAT_GOES = (LOSE.format(hook="input", way="iifname"), LOSE.format(hook="output", way="oifname"))


@pytest.fixture
def rig(inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """An embedded testbed a run."""
    return Rig(inventory, tmp_path, monkeypatch, "embedded")


def refused(rig: Rig, at: dict[str, Happening]) -> str:
    """Run the lab, which cannot be done: one line, and nothing is kept that looks like a run."""
    with pytest.raises(HarnessError) as raised:
        rig.run(at)
    assert list(rig.folder.iterdir()) == []
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_sshd_that_was_stopped_before(rig: Rig) -> None:
    """No sshd on the client host: what ssh said."""
    refusal = refused(rig, {OPEN: on("client", f"kill $({LISTENER})")})
    assert refusal.startswith("server: ssh ended before the session was open; it said: ")
    assert refusal.endswith("ssh: connect to host 192.168.1.64 port 22: Connection refused")


def test_sshd_that_is_stopped_meanwhile(rig: Rig) -> None:
    """sshd's process for the session is killed: the session ended before it was to be closed."""
    refusal = refused(rig, {CLOSE: on("client", f'kill -KILL $({SESSION}) && while [ -n "$({SESSION})" ]; do :; done')})
    assert refusal.startswith("server: ")
    assert "ssh" in refusal


def test_link_that_goes_down_and_comes_up(rig: Rig) -> None:
    """A second without a link during the session: TCP sends again, all points."""
    experiment, results = rig.run({CLOSE: on("client", "ip link set ens33 down; sleep 1; ip link set ens33 up")})
    assert (results.outcome, results.score) == ("passed", 100)
    assert experiment.captured.disagreement() is None


def test_tcpdump_that_is_killed(rig: Rig) -> None:
    """No capture without its counters: could not be judged, with how tcpdump ended."""
    its_own = '[ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ]'
    refusal = refused(
        rig, {CLOSE: on("server", f"for pid in $(pgrep -x tcpdump); do {its_own} && kill -KILL $pid; done")}
    )
    assert refusal.startswith("server: tcpdump ended with status 137 during the capture; it said: ")


@pytest.mark.parametrize("kilobytes", [12, 20], ids=["nothing fits", "a part fits"])
def test_full_disk_on_the_host(rig: Rig, kilobytes: int) -> None:
    """tcpdump does not say that it could not write; its count against the file's does."""
    refusal = refused(rig, {CHECK: on("server", f"mount -t tmpfs -o size={kilobytes}k tmpfs /tmp")})
    assert refusal.startswith("server: tcpdump captured ")
    assert "; is the disk full? tmpfs " in refusal


def test_packets_that_the_capture_loses(rig: Rig) -> None:
    """A buffer of 4 KB under load: could not be judged, and says how many packets were lost."""
    small = (
        'tool=$(command -v tcpdump); cp "$tool" /tmp/real\n'
        "printf '#!/bin/sh\\nexec /tmp/real -B 4 \"$@\"\\n' >/tmp/small; chmod 755 /tmp/small\n"
        'mount --bind /tmp/small "$tool"'
    )
    load = """python3 -c '
import socket, time
for _ in range(20):
    with socket.create_connection(("192.168.1.64", 22)) as one:
        one.recv(99)
        try:
            for _ in range(50):
                one.send(bytes(60000))
        except OSError:
            pass
'"""
    experiment, results = rig.run({CHECK: on("server", small), CLOSE: on("server", load)})
    lost = experiment.captured.counters["dropped_by_kernel"]
    assert lost > 0
    assert (results.outcome, results.score) == ("not-judged", None)
    assert results.cause == f"tcpdump lost {lost} packets: the capture is no evidence"


def test_mtu_576(rig: Rig) -> None:
    """A small MTU makes more segments, and they are as right."""
    _, results = rig.run({OPEN: on_both("ip link set ens33 mtu 576")})
    assert (results.outcome, results.score) == ("passed", 100)


@pytest.mark.parametrize("place", ["after the capture", "before the capture"])
def test_lost_packets(rig: Rig, place: str) -> None:
    """A fifth of all packets is lost, where the capture sees them or before it can: nothing is said to be wrong."""

    def lose(testbed: Testbed) -> None:
        on("client", LOSE_WHAT_GOES)(testbed)
        if place == "after the capture":
            on("client", LOSE_WHAT_COMES.replace("ip loss", "ip loss_too"))(testbed)
        else:
            on("server", LOSE_WHAT_GOES)(testbed)

    try:
        _, results = rig.run({OPEN: lose, STOP: on_both("nft flush ruleset")})
    except HarnessError as error:
        if "ssh did not " not in str(error):  # so much was lost that the session came to no end in time
            raise
    else:
        assert not [check for check in results.checks if check.outcome == "failed"]


def test_lost_way_to_a_host(rig: Rig) -> None:
    """The harness loses its way to the server host after the capture began: it says so, and what runs there ends."""
    ways = "ss -Htnp state established 'sport = :22 and src 127.0.0.1' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p'"

    def cut(testbed: Testbed) -> None:
        with pytest.raises(HarnessError):
            on("server", f"for pid in $({ways}); do kill -KILL $pid; done")(testbed)

    refusal = refused(rig, {OPEN: cut})
    assert refusal.startswith("server: ")
    assert "the connection to the host was lost" in refusal or "the connection was lost while" in refusal


def _stopped(start: Lab, folder: Path, number: signal.Signals, seed: int) -> None:
    """Stop ten runs, two at a time, each at a random moment, and see that nothing of them is left."""
    chosen = random.Random(seed)  # noqa: S311 - which moments is no secret
    for pair in range(5):
        running = [start("run-handshake-lab", "--out", folder / f"{pair}{one}") for one in "ab"]
        for one in running:
            one.wait_for_python()
        began = time.monotonic()
        for moment, one in sorted(zip((chosen.uniform(0.0, 2.5) for _ in running), running, strict=True), key=at):
            while time.monotonic() < began + moment and one.process.poll() is None:
                time.sleep(0.002)
            one.process.send_signal(number)
        for one in running:
            one.finish()
            assert one.process.returncode in (0, 2, -number), one.said()
        assert running[0].watch.wait_until_gone(15.0) == []
        assert running[0].watch.left_traces() == []
    assert not [path for path in folder.iterdir() if path.name.startswith(".") and number == signal.SIGINT]


def at(one: tuple[float, object]) -> float:
    """When something is to be done."""
    return one[0]


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments(start: Lab, tmp_path: Path, seed: int) -> None:
    """kill -9 at ten moments of a run, five times over: no process, rule, namespace or trace stays."""
    _stopped(start, tmp_path, signal.SIGKILL, seed)


@pytest.mark.parametrize("seed", range(5, 10))
def test_interrupted_at_random_moments(start: Lab, tmp_path: Path, seed: int) -> None:
    """Ctrl-C at ten moments of a run, five times over: nothing is left, at once, and no folder half-written."""
    _stopped(start, tmp_path, signal.SIGINT, seed)
