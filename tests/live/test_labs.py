"""What `./invoke run --lab NAME` promises of every lab that is made of scenes."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.grading.judging import labs
from harness.intake.kinds import BESIDE
from harness.scenes import own, scenes_of
from tests.live.conftest import Lab
from tests.live.watching import Finished, Invocation, Seen, Watch, trace_instances
from tests.pcaps import decode

LABS = sorted(name for name, folder in labs().items() if (folder / "lab.py").is_file() and not own(folder, "run"))
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
LAB = "lost-syn"  # one whose scenes take a second or two

Run = Callable[..., Finished]
needs_namespaces = pytest.mark.usefixtures("namespaces")


@dataclass(frozen=True)
class Kept:
    """An ended run of a lab, and its folder."""

    lab: str
    finished: Finished
    folder: Path
    watch: Watch
    left: list[Seen]

    def document(self, name: str) -> Any:
        """One of its JSON files."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@contextmanager
def kept_run(lab: str, folder: Path, *switches: str) -> Iterator[Kept]:
    """Run a lab into a folder."""
    watch = Watch()
    try:
        with Invocation("run", "--lab", lab, "--out", folder, *switches, watch=watch) as running:
            finished = running.finish()
            yield Kept(lab, finished, folder, watch, watch.look())
    finally:
        watch.close()


@pytest.fixture(scope="module", params=LABS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Iterator[Kept]:
    """One run of each lab, with --json."""
    assert namespaces is None
    with kept_run(request.param, tmp_path_factory.mktemp(request.param) / "run", "--json") as made:
        yield made


def test_all_points(kept: Kept) -> None:
    """The lab passes on this machine: exit 0, all points of 100; --json prints results.json and nothing else."""
    assert (kept.finished.status, kept.finished.stderr) == (0, "")
    assert kept.finished.stdout == (kept.folder / "results.json").read_text(encoding="utf-8")
    results = kept.document("results.json")
    assert (results["schema"], results["lab"], results["provider"]) == ("tcp-lab/results/v1", kept.lab, "embedded")
    assert (results["outcome"], results["score"], results["max_score"]) == ("passed", 100, 100)
    assert {check["outcome"] for check in results["checks"]} == {"passed"}


def test_run_folder_is_whole(kept: Kept) -> None:
    """All files are there, none begins or ends as work in hand, and no text is taken for a submission's capture."""
    assert {name for name in FILES if name.endswith(".txt")} <= BESIDE
    assert {path.name for path in kept.folder.iterdir()} == FILES
    assert {path.name for path in kept.folder.parent.iterdir()} == {kept.folder.name}


def test_run_json_has_every_scene(kept: Kept) -> None:
    """Each scene has a connection of its own, the capture shows it, and what was to be lost was dropped."""
    run = kept.document("run.json")
    assert (run["schema"], run["lab"], run["provider"]) == ("tcp-lab/run/v1", kept.lab, "embedded")
    scenes = {scene.name: scene for scene in scenes_of(labs()[kept.lab])}
    connections = run["connections"]
    assert list(connections) == list(scenes)
    frames = decode((kept.folder / "capture.pcap").read_bytes())
    shown = {(min(frame.sport, frame.dport), max(frame.sport, frame.dport)) for frame in frames}
    made = [tuple(int(ends[end].split(":")[1]) for end in ("initiator", "responder")) for ends in connections.values()]
    assert len(made) == len(set(made)) == len(shown)
    assert set(made) == shown
    for name, scene in scenes.items():
        surely = sum(loss.times for loss in scene.shape.losses if loss.surely)
        assert connections[name]["dropped"] >= surely, name
        assert connections[name]["initiator"].startswith("192.168.1.63:")
        assert connections[name]["responder"].startswith("192.168.1.64:")


def test_kernel_saw_every_connection(kept: Kept) -> None:
    """states.json has both hosts, and where the kernel's trace may be read every initiator's first state."""
    states = kept.document("states.json")
    assert states["schema"] == "tcp-lab/states/v1"
    assert set(states["hosts"]) == {"server", "client"}
    if trace_instances() is not None:
        began = {row["local"] for row in states["hosts"]["server"]["trace"] if row["state"] == "SYN-SENT"}
        assert {ends["initiator"] for ends in kept.document("run.json")["connections"].values()} <= began


def test_timeline_has_every_scene(kept: Kept) -> None:
    """timeline.txt has a block for each scene, and all frames of the capture on one clock with the kernel's states."""
    text = (kept.folder / "timeline.txt").read_text(encoding="utf-8")
    run = kept.document("run.json")
    assert re.findall(r"(?m)^── (\S+) ", text) == list(run.get("connections", {run["lab"]: None}))
    frames = decode((kept.folder / "capture.pcap").read_bytes())
    assert sorted(map(int, re.findall(r"(?m)^ +\d+\.\d{3} +(\d+) [─◀]", text))) == [*range(1, len(frames) + 1)]
    if trace_instances() is not None:
        assert text.count("the kernel's trace, its clock matched within ") == 2 * len(run.get("connections", [1]))


def test_junit_has_the_same_verdict(kept: Kept) -> None:
    """junit.xml has one testcase a check, and no failure."""
    suite = ET.parse(kept.folder / "junit.xml").getroot().find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    checks = kept.document("results.json")["checks"]
    assert [case.get("name") for case in suite.findall("testcase")] == [check["id"] for check in checks]
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")


def test_nothing_remains(kept: Kept) -> None:
    """After a run there is no process of the testbed, and no trace instance of that run in the kernel."""
    assert kept.watch.namespaces, "the test saw no PID namespace of the testbed"
    assert kept.left == []
    assert kept.watch.left_traces() == []
    run_id = kept.document("run.json")["run_id"]
    assert not [name for name in trace_instances() or () if run_id in name]


def test_the_capture_alone_earns_the_same(kept: Kept, run: Run) -> None:
    """The capture, judged as one from elsewhere, earns the same points by the same checks, but those of a live run."""
    finished = run("check", "--lab", kept.lab, "--capture", kept.folder / "capture.pcap", "--json")
    assert (finished.status, finished.stderr) == (0, "")
    results, live = json.loads(finished.stdout), kept.document("results.json")
    assert (results["score"], results["max_score"]) == (live["score"], live["max_score"])
    with_points = [[c["id"], c["score"]] for c in live["checks"] if c["points"]]
    assert [[c["id"], c["score"]] for c in results["checks"] if c["points"]] == with_points


@pytest.mark.parametrize("lab", LABS)
def test_good_captures_earn_all_points(lab: str, run: Run) -> None:
    """Those in the lab's folder, from which its rubric is proven."""
    good = sorted((labs()[lab] / "good").glob("*.pcap*"))
    assert good
    for path in good:
        finished = run("check", "--lab", lab, "--capture", path, "--json")
        assert (finished.status, json.loads(finished.stdout)["score"]) == (0, 100), path.name


@needs_namespaces
def test_what_is_shown(tmp_path: Path) -> None:
    """Without --json each scene has its heading, its ladder and how it ended, within 80 columns."""
    with kept_run(LAB, tmp_path / "run") as made:
        *lines, last = made.finished.stdout.splitlines()
        assert (made.finished.status, made.finished.complaints) == (0, [])
        assert last == f"run folder: {made.folder}"
        assert [line for line in lines if len(line) > 80] == []
        assert [line.split()[1] for line in lines if line.startswith("── ")] == ["once", "twice"]
        assert len([line for line in lines if line.startswith("open: three-way")]) == 2
        assert any(line.startswith("passed: 100 of 100 points") for line in lines)


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        (["--lab", "nope"], "no lab 'nope'; there are: "),
        (["--lab", LAB, "--close", "four"], "--close is for the lab handshake: the lab lost-syn closes "),
        (["--lab", LAB, "--close", "nope"], "--close nope: known are "),
        (["--lab", LAB, "--provider", "nope"], "unknown provider 'nope'; known are: embedded, hosts"),
        (["--lab", LAB.replace("-", "_")], "no lab 'lost_syn'; there are: "),
    ],
)
def test_bad_orders(run: Run, tmp_path: Path, switches: list[str], said: str) -> None:
    """One line, exit 2, no folder."""
    finished = run("run", *switches, "--out", tmp_path / "run")
    assert said in finished.refusal
    assert finished.stdout == ""
    assert list(tmp_path.iterdir()) == []


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "step",
    ["bring up the two hosts", "set up the link", "play the scenes", "stop tcpdump, fetch the capture", "judge it"],
)
def test_interrupted(start: Lab, tmp_path: Path, step: str, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM are answered soon, in one line, with exit 2 and nothing left."""
    running = start("run", "--lab", LAB, "--out", tmp_path / "run")
    running.wait_for_step(step)
    began = time.monotonic()
    os.killpg(running.process.pid, number)
    finished = running.finish()
    assert time.monotonic() - began < 20  # it has deadlines, whatever the load
    if step == "judge it" and finished.status == 0:  # it was over before the signal came
        return
    assert finished.refusal.startswith("interrupted: ")
    assert finished.stdout == ""
    assert running.watch.look() == []
    assert list(tmp_path.iterdir()) == []


@needs_namespaces
def test_what_is_not_lost_is_said(run: Run, tmp_path: Path) -> None:
    """A scene that did not take place is no evidence: one line with its name, exit 2, no folder."""
    patch = "from harness.traffic import network\nnetwork._KINDS['syn'] = 'tcp flags & (syn | ack) == 0'"
    finished = run("run", "--lab", LAB, "--out", tmp_path / "run", patch=patch)
    assert finished.refusal.startswith("scene ")
    assert "what was to be lost (i_syn_" in finished.refusal
    assert list(tmp_path.iterdir()) == []


@needs_namespaces
def test_two_labs_at_once(start: Lab, tmp_path: Path) -> None:
    """Two labs at the same time, with the same addresses, both succeed and have a capture each."""
    running = [start("run", "--lab", LAB, "--json", "--out", tmp_path / name) for name in ("one", "two")]
    finished = [invocation.finish() for invocation in running]
    assert [each.status for each in finished] == [0, 0], finished
    captures = {(tmp_path / name / "capture.pcap").read_bytes() for name in ("one", "two")}
    assert len(captures) == 2
