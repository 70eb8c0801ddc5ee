"""What `./invoke run-handshake-lab` promises: the documents, the ladder, the verdict, and nothing left behind."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.live.conftest import Lab
from tests.live.watching import Finished, Invocation, Seen, Watch, trace_instances
from tests.pcaps import Frame, decode

pytestmark = pytest.mark.usefixtures("namespaces")

FILES = {
    "capture.pcap",
    "annotated.pcapng",
    "listing.txt",
    "run.json",
    "states.json",
    "results.json",
    "junit.xml",
    "timeline.txt",
    "report.html",
}
FIN, SYN, ACK = 1, 2, 16
DELAYED_ACK_NS = 40_000_000  # Linux: TCP_DELACK_MIN
NOBODY = 65534


@dataclass(frozen=True)
class Kept:
    """An ended run and its folder."""

    finished: Finished
    folder: Path
    watch: Watch
    left: list[Seen]

    def document(self, name: str) -> Any:
        """One of its JSON files."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def frames(self) -> list[Frame]:
        """The capture's frames, by another decoder than the harness's."""
        return decode((self.folder / "capture.pcap").read_bytes())


@contextmanager
def kept_run(folder: Path, *switches: str) -> Iterator[Kept]:
    """Run the lab into a folder."""
    watch = Watch()
    try:
        with Invocation("run-handshake-lab", "--out", folder, *switches, watch=watch) as running:
            finished = running.finish()
            yield Kept(finished, folder, watch, watch.look())
    finally:
        watch.close()


@pytest.fixture(scope="module")
def as_json(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One run with --json."""
    with kept_run(tmp_path_factory.mktemp("json") / "not" / "yet" / "there", "--json") as kept:
        yield kept


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One run without a switch, its output piped."""
    with kept_run(tmp_path_factory.mktemp("plain") / "run") as kept:
        yield kept


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One run that closes in three segments and shows absolute numbers, into an empty folder."""
    with kept_run(tmp_path_factory.mktemp("three"), "--close", "three", "-S") as kept:
        yield kept


def test_json_is_the_results_file_and_nothing_else(as_json: Kept) -> None:
    """--json prints results.json, byte for byte, and nothing else on either stream."""
    assert as_json.finished.stdout == (as_json.folder / "results.json").read_text(encoding="utf-8")
    assert as_json.finished.stderr == ""


def test_all_points(as_json: Kept) -> None:
    """A live run on this machine passes: exit 0, 100 of 100."""
    results = as_json.document("results.json")
    assert as_json.finished.status == 0
    assert (results["schema"], results["lab"]) == ("tcp-lab/results/v1", "handshake")
    assert (results["outcome"], results["score"], results["max_score"]) == ("passed", 100, 100)
    assert results["provider"] == "embedded"
    assert "cause" not in results
    assert {check["outcome"] for check in results["checks"]} == {"passed"}
    assert sum(check["score"] for check in results["checks"]) == 100


def test_run_folder_is_whole(as_json: Kept) -> None:
    """The run folder has every file, none of them empty, and no other; nothing unfinished stands beside it."""
    assert {path.name for path in as_json.folder.iterdir()} == FILES
    assert all(path.stat().st_size for path in as_json.folder.iterdir())
    assert list(as_json.folder.parent.iterdir()) == [as_json.folder]


def test_capture_is_what_tcpdump_wrote(as_json: Kept) -> None:
    """The capture's SHA-256 is in run.json, tcpdump's counters agree with it, and so does the listing."""
    run = as_json.document("run.json")
    pcap = (as_json.folder / "capture.pcap").read_bytes()
    assert run["capture_sha256"] == hashlib.sha256(pcap).hexdigest()
    counters = run["tcpdump_counters"]
    assert counters["captured"] == counters["received_by_filter"] == len(as_json.frames)
    assert counters["dropped_by_kernel"] == 0
    listed = (as_json.folder / "listing.txt").read_text(encoding="utf-8").splitlines()
    assert len(listed) == len(as_json.frames)


def test_checksums_are_those_of_the_wire(as_json: Kept) -> None:
    """With offloads off every captured segment has its right checksum and fits the MTU."""
    assert all(frame.checksum is None for frame in as_json.frames)
    assert max(len(frame.encode()) for frame in as_json.frames) <= 14 + 1500


def test_only_the_labs_connection_is_captured(as_json: Kept) -> None:
    """The capture holds one connection, the one that ssh told of."""
    four_tuple = as_json.document("run.json")["four_tuple"]
    ends = {frozenset({(f.src, f.sport), (f.dst, f.dport)}) for f in as_json.frames}
    assert len(ends) == 1
    assert four_tuple["responder"] == "192.168.1.64:22"
    assert four_tuple["initiator"] == f"192.168.1.63:{as_json.frames[0].sport}"


def test_connection_has_the_documented_values(as_json: Kept) -> None:
    """`connection` names both ends, both ISNs as on the wire, and how it opened and closed."""
    connection = as_json.document("results.json")["connection"]
    syn = next(frame for frame in as_json.frames if frame.flags & (SYN | ACK) == SYN)
    syn_ack = next(frame for frame in as_json.frames if frame.flags & (SYN | ACK) == SYN | ACK)
    assert connection["initiator"] == f"192.168.1.63:{syn.sport}"
    assert connection["responder"] == "192.168.1.64:22"
    assert (connection["initiator_isn"], connection["responder_isn"]) == (syn.seq, syn_ack.seq)
    assert connection["open"] == "three-way"
    # Now and then it is sshd that is first to close, or both at once: README, "How it closes is a race".
    assert connection["close"] in {"four-segment", "simultaneous"}
    assert connection["closer"] in {"initiator", "responder", "both"}
    assert connection["conn_state"] == "SF"
    assert re.fullmatch(r"ShA[ADadFf]+", connection["history"])
    assert connection["history"].upper().count("F") == 2
    assert connection["completeness"] == 31


def test_run_json_tells_how_it_was_made(as_json: Kept) -> None:
    """run.json has the hosts, the tools, the commands and how long each step took."""
    run = as_json.document("run.json")
    assert (run["schema"], run["provider"], run["close_asked"]) == ("tcp-lab/run/v1", "embedded", "four")
    assert re.fullmatch(r"[0-9a-f]{8}", run["run_id"])
    assert [run["hosts"][role]["address"] for role in ("server", "client")] == ["192.168.1.63", "192.168.1.64"]
    assert all(run["hosts"][role]["kernel"].startswith("Linux ") for role in ("server", "client"))
    assert run["commands"]["tcpdump"][0] == "tcpdump"
    assert run["commands"]["ssh"][0] == "ssh"
    assert run["commands"]["ssh"][-1] == "root@192.168.1.64"
    assert run["timings"]
    assert all(0 <= seconds < 60 for seconds in run["timings"].values())


def test_run_folder_tells_no_secret(as_json: Kept) -> None:
    """No private key is kept."""
    assert not [path.name for path in as_json.folder.iterdir() if b"PRIVATE KEY" in path.read_bytes()]


def test_kernel_saw_the_states(as_json: Kept) -> None:
    """states.json has both hosts: samples everywhere, every transition where the kernel's trace may be read."""
    states = as_json.document("states.json")
    assert states["schema"] == "tcp-lab/states/v1"
    assert set(states["hosts"]) == {"server", "client"}
    for said in states["hosts"].values():
        assert said["samples"]
        if trace_instances() is not None:
            assert "ESTABLISHED" in {row["state"] for row in said["trace"]}


def test_kernel_and_wire_are_on_one_clock(as_json: Kept) -> None:
    """What sends a segment lies before it, and what a segment brings about after it, as exactly as states.json says."""
    if trace_instances() is None:
        pytest.skip("the kernel's trace (tracefs) may not be read here; only root may")
    frames, hosts = as_json.frames, as_json.document("states.json")["hosts"]
    run = as_json.document("run.json")["four_tuple"]
    initiators = [frame for frame in frames if run["initiator"].endswith(f":{frame.sport}")]
    responders = [frame for frame in frames if frame not in initiators]
    sent = {"server": initiators, "client": responders}
    for role, peer in (("server", "client"), ("client", "server")):
        clock = hosts[role]["clock"]
        assert 0 < clock["within"] < 0.005  # microseconds with python3; some milliseconds with date on a busy machine
        within = clock["within"] * 1e9 + 1000  # which a capture in microseconds leaves out
        # Another run on this machine has the same addresses, and its sockets stand in the same kernel's trace.
        ours = [row for row in hosts[role]["trace"] if {row["local"], row["remote"]} == set(run.values())]
        began = {row["state"]: row["time"] * 1e9 for row in reversed(ours)}
        fin, fin_of_peer = (next(f.time for f in sent[side] if f.flags & FIN) for side in (role, peer))
        closing = next(began[state] for state in ("FIN-WAIT-1", "LAST-ACK") if state in began)
        assert closing <= fin + within
        if "CLOSE-WAIT" in began:
            assert began["CLOSE-WAIT"] >= fin_of_peer - within
        if role == "server":
            assert began["SYN-SENT"] <= initiators[0].time + within
            assert responders[0].time - within <= began["ESTABLISHED"] <= initiators[1].time + within
        else:
            assert initiators[1].time - within <= began["SYN-RECEIVED"] <= began["ESTABLISHED"]


def test_timeline_has_both(as_json: Kept) -> None:
    """timeline.txt has every frame, and both ends' states."""
    text = (as_json.folder / "timeline.txt").read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^ +\d+\.\d{3} +\d+ [─◀]", text)) == len(as_json.frames)
    assert len(re.findall(r"(?m)^ +-?\d+\.\d{3}.* ≈?ESTABLISHED$", text)) == 2
    for end, address in as_json.document("run.json")["four_tuple"].items():
        assert f"{end} {address}: " in text


def test_junit_has_the_same_verdict(as_json: Kept) -> None:
    """junit.xml is XML with one testcase a check, and no failure."""
    suite = ET.parse(as_json.folder / "junit.xml").getroot().find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    checks = as_json.document("results.json")["checks"]
    assert [case.get("name") for case in suite.findall("testcase")] == [check["id"] for check in checks]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (str(len(checks)), "0", "0")


@pytest.mark.parametrize("which", ["as_json", "plain", "three"])
def test_nothing_remains(which: str, request: pytest.FixtureRequest) -> None:
    """After a run there is no process of the testbed, and no trace instance of that run in the kernel."""
    kept: Kept = request.getfixturevalue(which)
    assert kept.watch.namespaces, "the test saw no PID namespace of the testbed"
    assert kept.left == []
    assert kept.watch.look() == []
    run_id = kept.document("run.json")["run_id"]
    assert kept.watch.run_ids <= {run_id}
    assert not [name for name in trace_instances() or () if run_id in name]


def ladder_of(finished: Finished) -> list[str]:
    """The ladder's lines, one for each segment."""
    return [line for line in finished.stdout.splitlines() if re.match(r" *\d+ +\d+\.\d{6} ", line)]


def test_plain_output_fits_a_terminal(plain: Kept) -> None:
    """Piped, no line is longer than 80 columns but the one that names the folder, and there is no escape code."""
    assert plain.finished.status == 0
    assert "\x1b" not in plain.finished.stdout + plain.finished.stderr
    *lines, last = plain.finished.stdout.splitlines()
    assert last == f"run folder: {plain.folder}"
    assert [line for line in lines if len(line) > 80] == []


def test_plain_output_has_the_ladder(plain: Kept) -> None:
    """Each segment is one line of the ladder, under both ends' names, the states beside it."""
    ladder = ladder_of(plain.finished)
    four_tuple = plain.document("run.json")["four_tuple"]
    assert len(ladder) == len(plain.frames)
    assert plain.finished.stdout.splitlines()[0].split() == [four_tuple["initiator"], four_tuple["responder"]]
    assert re.search(r"SYN-SENT .*─ \[S\] seq 0 ─.*▶ +LISTEN$", ladder[0])
    assert re.search(r"◀─.* \[S\.\] seq 0 ack 1 ─.* SYN-RECEIVED$", ladder[1])
    assert re.search(r"ESTABLISHED .* \[\.\] ack 1 ─.*▶ +ESTABLISHED$", ladder[2])
    assert "TIME-WAIT" in " ".join(ladder[-4:])


def test_plain_output_has_the_verdict(plain: Kept) -> None:
    """After the checks comes the whole outcome in one line."""
    count = len(plain.document("results.json")["checks"])
    assert f"passed: 100 of 100 points ({count} passed)" in plain.finished.stdout.splitlines()
    assert len([line for line in plain.finished.stdout.splitlines() if line.startswith(" ✓ ")]) == count


def test_progress_is_on_standard_error(plain: Kept) -> None:
    """Each step is announced on standard error, on a line of its own, and nothing else is there."""
    assert plain.finished.stderr.startswith("· bring up the two hosts\n")
    assert plain.finished.complaints == []
    assert set(plain.document("run.json")["timings"]) <= {line[2:] for line in plain.finished.stderr.splitlines()}


def test_close_three(three: Kept) -> None:
    """--close three has the second FIN take the ACK along; what becomes of it is legal and loses nothing."""
    assert three.finished.status == 0
    results, run = three.document("results.json"), three.document("run.json")
    assert run["close_asked"] == "three"
    assert results["score"] == 100
    fins = [frame for frame in three.frames if frame.flags & FIN]
    # On a busy machine sshd may be slower than the kernel waits with its ACK, or ssh's kernel for that.
    if len(fins) == 2 and fins[1].time - fins[0].time < DELAYED_ACK_NS:
        assert results["connection"]["close"] in {"three-segment", "simultaneous"}
    else:
        assert results["connection"]["close"] in {"three-segment", "four-segment"}


def test_absolute_numbers(three: Kept) -> None:
    """-S shows sequence numbers as on the wire."""
    connection = three.document("results.json")["connection"]
    first, second, third = ladder_of(three.finished)[:3]
    mine, theirs = connection["initiator_isn"], connection["responder_isn"]
    assert f"[S] seq {mine} " in first
    assert f"[S.] seq {theirs} ack {(mine + 1) % 2**32} " in second
    assert f"[.] ack {(theirs + 1) % 2**32} " in third
    assert "\x1b" not in three.finished.stdout


@pytest.mark.parametrize("taken", ["folder with a file", "file"])
def test_a_taken_place_is_refused(taken: str, run: Callable[..., Finished], tmp_path: Path) -> None:
    """--out never overwrites: one line, exit 2, all as before."""
    place = tmp_path / "out"
    if taken == "file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / "results.json").write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    finished = run("run-handshake-lab", "--out", place)
    assert finished.refusal.startswith(f"{place}: exists already")
    assert finished.stdout == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_runs_at_once(start: Lab, tmp_path: Path) -> None:
    """Two runs at the same time, with the same addresses, both succeed and have a capture each."""
    running = [start("run-handshake-lab", "--json", "--out", tmp_path / name) for name in ("one", "two")]
    finished = [invocation.finish() for invocation in running]
    assert [each.status for each in finished] == [0, 0], finished
    one, two = (json.loads(each.stdout) for each in finished)
    assert one["score"] == two["score"] == 100
    assert one["connection"]["initiator_isn"] != two["connection"]["initiator_isn"]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_two_runs_into_one_place(start: Lab, tmp_path: Path) -> None:
    """Of two runs at the same time into the same folder, one has it whole, and the other says that it is taken."""
    place = tmp_path / "run"
    running = [start("run-handshake-lab", "--json", "--out", place) for _ in range(2)]
    won, lost = sorted((invocation.finish() for invocation in running), key=lambda finished: finished.status)
    assert (won.status, lost.status) == (0, 2)
    assert lost.refusal.startswith(f"{place}: ")
    assert "taken" in lost.refusal
    assert (place / "results.json").read_text(encoding="utf-8") == won.stdout
    assert {path.name for path in place.iterdir()} == FILES
    assert list(tmp_path.iterdir()) == [place]


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """A folder of an ordinary user's."""
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="lab-of-an-ordinary-user-") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.mark.usefixtures("root")
def test_an_ordinary_user_can_run_it(start: Lab, users_folder: Path) -> None:
    """Without root the same command does the same; the states are then sampled only."""
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    python = [sys.executable, "-c", "import harness.cli"]
    for needed in (python, ["unshare", "--user", "--map-current-user", "--keep-caps", "--net", *python]):
        tried = subprocess.run([*as_nobody, *needed], cwd="/", capture_output=True, text=True, check=False, timeout=30)
        if tried.returncode:
            pytest.skip(f"an ordinary user cannot run {needed[0]} here: {tried.stderr.strip()[-200:]}")
    folder = users_folder / "run"
    finished = start("run-handshake-lab", "--json", "--out", folder, prefix=as_nobody, home=users_folder).finish()
    assert (finished.status, finished.stderr) == (0, "")
    assert json.loads(finished.stdout)["score"] == 100
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}
    states = json.loads((folder / "states.json").read_text(encoding="utf-8"))["hosts"]
    assert all(said["samples"] and said["trace"] is None for said in states.values())
