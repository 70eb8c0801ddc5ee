"""What is promised when it cannot work: one line that says what to mend, exit 2, and nothing left behind."""

import json
import os
import secrets
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.errors import HarnessError
from harness.hosts.host import Testbed
from harness.hosts.keys import new_key_pair
from harness.hosts.ssh import Login, connected
from harness.inventory import Inventory
from harness.session import prepared, session
from tests.live.conftest import Lab
from tests.live.doors import opened_doors
from tests.live.watching import ROOT, Finished, Invocation, Watch
from tests.pcaps import encode

Run = Callable[..., Finished]
CAPTURE = (ROOT / "tests" / "data" / "four-segment.pcap").read_bytes()
GONE_SECONDS = 10.0

# Runs a shell script on a host of the testbed as soon as it is up.
_SPOILT = """
from contextlib import contextmanager
from harness.hosts import testbeds
whole = testbeds.PROVIDERS["embedded"]

@contextmanager
def spoilt(inventory, *_):
    with whole(inventory) as testbed:
        testbed.{role}.shell({script!r})
        yield testbed

testbeds.PROVIDERS["embedded"] = spoilt
"""

needs_namespaces = pytest.mark.usefixtures("namespaces")
needs_root = pytest.mark.usefixtures("root")


def refused(run: Run, folder: Path, *switches: str | Path, patch: str | None = None) -> str:
    """Run the lab, which is refused in one line; there is no run folder then, not even an unfinished one."""
    folder.mkdir()
    finished = run("run-handshake-lab", "--out", folder / "run", *switches, patch=patch)
    assert finished.stdout == ""
    assert list(folder.iterdir()) == []
    return finished.refusal


@pytest.fixture
def write_inventory(tmp_path: Path) -> Callable[..., Path]:
    """Write an inventory like the shipped one but for some keys of its top."""

    def write(**changed: object) -> Path:
        document = yaml.safe_load((ROOT / "inventory.yaml").read_text(encoding="utf-8"))
        path = tmp_path / "inventory.yaml"
        path.write_text(yaml.safe_dump({**document, **changed}), encoding="utf-8")
        return path

    return write


# -- the inventory ---------------------------------------------------------------------------------------------------


def test_no_such_inventory(run: Run, tmp_path: Path) -> None:
    """An inventory that is not there is named."""
    missing = tmp_path / "none.yaml"
    said = refused(run, tmp_path / "out", "--inventory", missing)
    assert said == f"{missing}: cannot read the inventory: No such file or directory"


def test_unknown_provider(run: Run, tmp_path: Path, write_inventory: Callable[..., Path]) -> None:
    """An unknown provider is named with those there are, whether the inventory or the switch names it."""
    path = write_inventory(provider="cloud")
    expected = f"{path}: unknown provider 'cloud'; known are: embedded, hosts, vm"
    assert refused(run, tmp_path / "one", "--inventory", path) == expected
    path = write_inventory()
    assert refused(run, tmp_path / "two", "--inventory", path, "--provider", "cloud") == expected


def test_unknown_key(run: Run, tmp_path: Path, write_inventory: Callable[..., Path]) -> None:
    """A key that nobody knows is named with those there are."""
    path = write_inventory(color="blue")
    said = refused(run, tmp_path / "out", "--inventory", path)
    assert said.startswith(f"{path}: unknown key 'color'; known are: ")


def test_unknown_close(run: Run, tmp_path: Path) -> None:
    """A way to close that is not known is named with those there are."""
    assert refused(run, tmp_path / "out", "--close", "five") == "--close five: known are three, four, as-is"


# -- the hosts -------------------------------------------------------------------------------------------------------


@needs_namespaces
@needs_root
@pytest.mark.parametrize(
    ("role", "script", "expected"),
    [
        pytest.param(
            "server",
            "PATH=$PATH:/sbin; ip link set ens33 down && ip link set ens33 name lab0 up",
            "server (192.168.1.63): interface ens33 is not there; the route to 192.168.1.64 goes by lab0: "
            "put interface: lab0 into the inventory",
            id="interface",
        ),
        pytest.param(
            "client",
            "PATH=$PATH:/sbin; ip addr flush dev ens33 && ip addr add 192.168.1.65/24 dev ens33",
            "client (192.168.1.64): expected 192.168.1.64 on ens33; "
            "it carries 192.168.1.65; mend the inventory or the host",
            id="address",
        ),
        pytest.param(
            "server",
            # The host's mount namespace is its own: nothing happens to the machine's tcpdump.
            'PATH=$PATH:/usr/sbin; touch /tmp/empty; mount --bind /tmp/empty "$(command -v tcpdump)"',
            "server (192.168.1.63): expected tcpdump to be installed; install the package tcpdump there",
            id="tcpdump",
        ),
    ],
)
def test_a_host_that_lacks_something(run: Run, tmp_path: Path, role: str, script: str, expected: str) -> None:
    """What a host lacks is said before anything is started: the host, what was expected, what there is, the mend."""
    assert refused(run, tmp_path / "out", patch=_SPOILT.format(role=role, script=script)) == expected


@needs_namespaces
def test_sshd_that_dies_at_start(run: Run, tmp_path: Path) -> None:
    """An sshd that does not start is an error at once, with its own last words."""
    patch = "from harness.hosts import own\nown._SSHD_CONFIG += 'NoSuchDirective yes\\n'"
    began = time.monotonic()
    said = refused(run, tmp_path / "out", patch=patch)
    assert said.startswith("embedded: server's sshd ended with status 255 at start; it said: ")
    assert "NoSuchDirective" in said
    assert time.monotonic() - began < 8


def test_missing_tool(run: Run, tmp_path: Path) -> None:
    """A program that this machine lacks is named with the package to install."""
    patch = "from harness.hosts import embedded\nembedded.TOOLS = ('no-such-tool',)"
    assert refused(run, tmp_path / "out", patch=patch) == (
        "embedded: no-such-tool is not installed on this machine; run: sudo apt-get install no-such-tool"
    )


@needs_namespaces
def test_set_up_that_fails(run: Run, tmp_path: Path) -> None:
    """A step of the set-up that fails is told in the words of the tool that failed."""
    patch = (
        "from harness.hosts import embedded\n"
        "plan = embedded._host_plan\n"
        "embedded._host_plan = lambda *args: {**plan(*args), 'interface': 'no/such/name'}"
    )
    said = refused(run, tmp_path / "out", patch=patch)
    assert said.startswith("embedded: setting up the namespaces failed: ip -batch -: ")


@needs_namespaces
@pytest.mark.parametrize("known", ["another key", "no key"])
def test_host_key_is_pinned(known: str, inventory: Inventory, watch: Watch, tmp_path: Path) -> None:
    """A host with another key than the one pinned is not talked to, nor is one whose key is not known."""
    pinned = f"{inventory.client.address} {new_key_pair().public}" if known == "another key" else ""
    with opened_doors(inventory, tmp_path) as doors:
        assert watch
        with doors.socket_to("client") as sock:
            login = Login(
                inventory.client, pinned, inventory.client.address, sock=sock, private_key=new_key_pair().private
            )
            with pytest.raises(HarnessError) as raised, connected(login):
                pass
    said = str(raised.value)
    assert said.isprintable()
    assert said.startswith("client (root@192.168.1.64 port 22): connecting: ")
    assert said.count("SHA256:") == (2 if known == "another key" else 1)
    assert "run ./invoke trust" in said


@needs_root
def test_client_that_cannot_be_reached(testbed: Testbed) -> None:
    """When the lab link is down, the session is given up within its deadline, in ssh's own words."""
    with prepared(testbed, secrets.token_hex(4), "as-is") as ready:
        testbed.client.shell("PATH=$PATH:/sbin; ip link set ens33 down")
        began = time.monotonic()
        with pytest.raises(HarnessError) as raised, session(testbed, ready, "as-is"):
            pass
        assert time.monotonic() - began < 20
    assert str(raised.value).startswith("server: ssh ended before the session was open; it said: ")
    assert "ssh: connect to host 192.168.1.64 port 22: " in str(raised.value)
    assert str(raised.value).isprintable()


# -- captures --------------------------------------------------------------------------------------------------------

ARP = b"\xff" * 6 + b"\2\0\0\0\0\1\x08\x06" + bytes(46)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "the capture file is empty", id="empty"),
        pytest.param(CAPTURE[:2000], "", id="cut in a record"),
        pytest.param(CAPTURE[:10], "", id="cut in the header"),
        pytest.param(b"No. Time Source\n" * 10, "not a pcap file (it begins with 4e 6f 2e 20)", id="text"),
        pytest.param(encode([]), "no TCP segment in its 0 frames", id="no frame"),
        pytest.param(
            encode([]) + struct.pack("<IIII", 1, 2, len(ARP), len(ARP)) + ARP,
            "no TCP segment in its 1 frames",
            id="no TCP",
        ),
        pytest.param(None, "cannot read the capture: No such file or directory", id="missing"),
        pytest.param("folder", "cannot read the capture: Is a directory", id="folder"),
    ],
)
def test_capture_that_cannot_be_judged(start: Lab, tmp_path: Path, content: bytes | str | None, expected: str) -> None:
    """A capture that cannot be judged is never a mark: one line, exit 2; with --json a document that says the same."""
    path = tmp_path / "some.pcap"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    plain, with_json = start("check", "--capture", path), start("check", "--capture", path, "--json")
    finished, as_json = plain.finish(), with_json.finish()
    assert finished.stdout == ""
    assert finished.refusal.startswith(f"{path}: {expected}")
    assert as_json.refusal == finished.refusal
    document = json.loads(as_json.stdout)
    assert (document["outcome"], document["score"], document["connection"]) == ("not-judged", None, None)
    assert document["cause"] == finished.refusal
    assert document["checks"] == []


def test_whole_capture_is_judged(run: Run, tmp_path: Path) -> None:
    """The capture that was cut above is judged when it is whole."""
    path = tmp_path / "whole.pcap"
    path.write_bytes(CAPTURE)
    finished = run("check", "--capture", path, "--json")
    assert (finished.status, finished.stderr) == (0, "")
    assert json.loads(finished.stdout)["score"] == 100


# -- the disk --------------------------------------------------------------------------------------------------------


@needs_namespaces
@needs_root
def test_full_disk(start: Lab, tmp_path: Path) -> None:
    """Where the run folder does not fit, that is said, and nothing of it is left."""
    disk, listing = tmp_path / "disk", tmp_path / "listing"
    disk.mkdir()
    script = (
        'disk=$1 listing=$2; shift 2; mount -t tmpfs -o size=16k tmpfs "$disk" || exit 77\n'
        '"$@"; status=$?; ls -A "$disk" >"$listing"; exit "$status"'
    )
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh", str(disk), str(listing))
    finished = start("run-handshake-lab", "--out", disk / "run", prefix=prefix).finish()
    if finished.status == 77:
        pytest.skip("a tmpfs cannot be mounted here")
    assert finished.refusal.startswith(f"{disk}/.handshake-")
    assert finished.refusal.endswith(": cannot write the run folder: No space left on device")
    assert finished.stdout == ""
    assert listing.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("switch", ["--json", "-S"])
def test_full_output(start: Lab, switch: str) -> None:
    """Where the verdict cannot be written, that is said."""
    prefix = ("sh", "-c", '"$@" >/dev/full', "sh")
    capture = ROOT / "tests" / "data" / "four-segment.pcap"
    finished = start("check", "--capture", capture, switch, prefix=prefix).finish()
    assert "No space left on device" in finished.refusal


# -- signals ---------------------------------------------------------------------------------------------------------

STEPS = (
    "bring up the two hosts",
    "check both hosts",
    "start tcpdump on the server host",
    "open ssh from server to client",
    "stop tcpdump, fetch the capture",
    "judge it",
)


def reach(running: Invocation, moment: float | str) -> None:
    """Wait for a moment: so many seconds after Python began, or the announcement of a step."""
    if isinstance(moment, str):
        running.wait_for_step(moment)
    else:
        running.wait_for_python()
        time.sleep(moment)
    running.watch.look()


@needs_namespaces
@pytest.mark.parametrize(
    ("number", "moment"),
    [
        *((signal.SIGINT, moment) for moment in (0.0, 0.1, *STEPS)),
        *((signal.SIGTERM, moment) for moment in (0.0, *STEPS[3::2])),
    ],
)
def test_interrupted(start: Lab, tmp_path: Path, number: signal.Signals, moment: float | str) -> None:
    """Ctrl-C and SIGTERM are answered at any moment: soon, in one line, with exit 2 and nothing left."""
    running = start("run-handshake-lab", "--out", tmp_path / "run")
    reach(running, moment)
    began = time.monotonic()
    os.killpg(running.process.pid, number)
    finished = running.finish()
    assert time.monotonic() - began < 20  # it has deadlines, whatever the load
    if moment == STEPS[-1] and finished.status == 0:  # it was over before the signal came
        assert finished.complaints == []
        assert json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))["score"] == 100
        return
    assert finished.refusal.startswith("interrupted: ")
    assert finished.stdout == ""
    assert running.watch.look() == []
    assert list(tmp_path.iterdir()) == []


@needs_namespaces
def test_interrupted_twice(start: Lab, tmp_path: Path) -> None:
    """Whoever presses Ctrl-C again and again gets the same one line, and nothing is left either."""
    running = start("run-handshake-lab", "--out", tmp_path / "run")
    reach(running, "open ssh from server to client")
    while running.process.poll() is None:
        os.killpg(running.process.pid, signal.SIGINT)
        time.sleep(0.02)
    assert running.finish().refusal.startswith("interrupted: ")
    assert running.watch.look() == []
    assert list(tmp_path.iterdir()) == []


@needs_namespaces
@pytest.mark.parametrize("moment", [0.4, *STEPS[1:-1:2], STEPS[4]])
def test_killed(start: Lab, tmp_path: Path, moment: float | str) -> None:
    """When the harness is killed (SIGKILL), the testbed ends by itself: soon nothing of it is left."""
    running = start("run-handshake-lab", "--out", tmp_path / "run")
    reach(running, moment)
    os.kill(running.process.pid, signal.SIGKILL)
    assert running.finish().status == -signal.SIGKILL
    assert running.watch.wait_until_gone(GONE_SECONDS) == []
    assert running.watch.left_traces() == []
