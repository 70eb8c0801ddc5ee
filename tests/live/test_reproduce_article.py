"""What `./invoke reproduce-article` promises: every claim decided on runs of this machine, by frames that are there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labs.article.claims import CLAIMS
from tests.grader.record_reproduction import VERDICTS
from tests.live.conftest import Lab
from tests.live.watching import Finished, Invocation, Seen, Watch, trace_instances
from tests.pcaps import decode

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
LABS = {lab for claim in CLAIMS for lab in claim.labs}
NOBODY = 65534
SECONDS = 300.0  # a deadline: seven labs take some 20

Run = Callable[..., Finished]
needs_namespaces = pytest.mark.usefixtures("namespaces")


@dataclass(frozen=True)
class Kept:
    """An ended reproduction, and its folder."""

    finished: Finished
    folder: Path
    watch: Watch
    left: list[Seen]

    @property
    def document(self) -> Any:
        """claims.json."""
        return json.loads((self.folder / "claims.json").read_text(encoding="utf-8"))

    @property
    def claims(self) -> dict[str, Any]:
        """Its claims, by id."""
        return {claim["id"]: claim for claim in self.document["claims"]}

    @property
    def verdicts(self) -> dict[str, str]:
        """What became of each."""
        return {name: claim["verdict"] for name, claim in self.claims.items()}


@contextmanager
def kept_reproduction(folder: Path, *switches: str | Path, patch: str | None = None) -> Iterator[Kept]:
    """Reproduce the article into a folder."""
    watch = Watch()
    try:
        with Invocation("reproduce-article", "--out", folder, *switches, watch=watch, patch=patch) as running:
            finished = running.finish(seconds=SECONDS)
            yield Kept(finished, folder, watch, watch.look())
    finally:
        watch.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Iterator[Kept]:
    """One reproduction of all claims."""
    assert namespaces is None
    with kept_reproduction(tmp_path_factory.mktemp("reproduced") / "all") as made:
        yield made


def test_every_claim_is_decided(kept: Kept) -> None:
    """Exit 0, and each claim has the verdict that this system gives."""
    assert kept.verdicts == VERDICTS
    assert (kept.finished.status, kept.finished.complaints) == (0, [])
    assert kept.document["schema"] == "tcp-lab/claims/v1"
    assert [(claim["id"], claim["text"]) for claim in kept.document["claims"]] == [(c.id, c.text) for c in CLAIMS]


def test_evidence_is_in_the_captures(kept: Kept) -> None:
    """Every claim names frames, each of them in the capture of the run that is named; and says what it has to say."""
    frames = {lab: len(decode((kept.folder / lab / "capture.pcap").read_bytes())) for lab in LABS}
    for claim in kept.document["claims"]:
        assert set(claim) == {"id", "text", "verdict", "evidence", "note"}
        assert claim["note"]
        assert any(one["frames"] for one in claim["evidence"])
        for one in claim["evidence"]:
            assert set(one) == {"run", "frames", "says"}
            assert one["says"]
            assert all(1 <= frame <= frames[one["run"]] for frame in one["frames"])


def test_the_folder_is_whole(kept: Kept) -> None:
    """It has claims.json and a run folder a lab, whole and with all points; nothing unfinished stands beside it."""
    assert {path.name for path in kept.folder.iterdir()} == {"claims.json", "claims.html", *LABS}
    assert list(kept.folder.parent.iterdir()) == [kept.folder]
    for lab in LABS:
        run = json.loads((kept.folder / lab / "run.json").read_text(encoding="utf-8"))
        listings = {f"{name}.txt" for name in run.get("listings", ())}
        assert {path.name for path in (kept.folder / lab).iterdir()} >= FILES | listings
        results = json.loads((kept.folder / lab / "results.json").read_text(encoding="utf-8"))
        assert (run["lab"], results["lab"], results["score"]) == (lab, lab, 100)


def test_what_is_shown(kept: Kept) -> None:
    """A table within 80 columns, the counts, and where the runs are."""
    *lines, counts, last = kept.finished.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    shown = [line.split()[:2] for line in lines if line[:1] == "C"]
    assert shown == [[name, verdict] for name, verdict in VERDICTS.items()]
    assert counts == "21 of 21 claims decided: 12 confirmed, 8 qualified, 1 refuted"
    assert last == f"the runs and claims.json: {kept.folder}"
    steps = [line for line in kept.finished.stderr.splitlines() if " of 7: " in line]
    assert {step.split()[-1] for step in steps} == LABS


def test_nothing_remains(kept: Kept) -> None:
    """There is no process of a testbed, and no trace instance of any of the runs in the kernel."""
    assert len(kept.watch.namespaces) >= len(LABS), "the test saw no PID namespace of some testbed"
    assert kept.left == []
    assert kept.watch.left_traces() == []
    run_ids = [json.loads((kept.folder / lab / "run.json").read_text(encoding="utf-8"))["run_id"] for lab in LABS]
    assert not [name for name in trace_instances() or () if any(run_id in name for run_id in run_ids)]


@needs_namespaces
def test_only_some_claims(tmp_path: Path) -> None:
    """Only the labs that they need are run; the claims stand in the article's order."""
    with kept_reproduction(tmp_path / "some", "--only", "c16, C10") as some:
        assert (some.finished.status, some.finished.complaints) == (0, [])
        assert list(some.verdicts.items()) == [("C10", "confirmed"), ("C16", "confirmed")]
        written = {"claims.json", "claims.html", "delayed-syn", "lost-last-ack"}
        assert {path.name for path in some.folder.iterdir()} == written
        assert some.finished.stdout.splitlines()[-2] == "2 of 2 claims decided: 2 confirmed"


@needs_namespaces
def test_a_lab_that_cannot_be_run(tmp_path: Path) -> None:
    """Its claims are not shown, with the reason; the others are decided; exit 1."""
    patch = "from harness.traffic import network\nnetwork._KINDS['ack-of-fin'] = 'no such match'"
    with kept_reproduction(tmp_path / "some", "--only", "C10,C16", patch=patch) as some:
        assert some.verdicts == {"C10": "confirmed", "C16": "not-shown"}
        assert (some.finished.status, some.finished.complaints) == (1, [])
        note = some.claims["C16"]["note"]
        assert note.startswith("the lab lost-last-ack: ")
        assert "no such match" in note
        assert some.claims["C16"]["evidence"] == []
        (why,) = (some.folder / "lost-last-ack").iterdir()
        assert (why.name, why.read_text(encoding="utf-8").strip()) == ("not-run.txt", note.partition(": ")[2])
        assert some.finished.stdout.splitlines()[-2] == "1 of 2 claims decided: 1 confirmed, 1 not-shown"
        assert some.left == []


def test_hosts_that_cannot_be_reached(tmp_path: Path) -> None:
    """No lab is run: every claim is not shown, and each says why."""
    (tmp_path / "known_hosts").touch()
    hosts = "".join(
        f"  {role}: {{address: 127.0.0.{last}, user: root, port: 1, interface: ens33}}\n"
        for role, last in (("server", 1), ("client", 2))
    )
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(f"provider: hosts\nknown_hosts: {tmp_path}/known_hosts\nhosts:\n{hosts}", encoding="utf-8")
    with kept_reproduction(tmp_path / "none", "--inventory", inventory, "--only", "C01,C10") as none:
        assert none.verdicts == {"C01": "not-shown", "C10": "not-shown"}
        assert (none.finished.status, none.finished.complaints) == (1, [])
        assert none.claims["C01"]["note"].startswith("the lab article: server (root@127.0.0.1 port 1): ")
        assert "server (root@127.0.0.1 port 1): " in none.claims["C10"]["note"]
        assert none.finished.stdout.splitlines()[-2] == "0 of 2 claims decided: 2 not-shown"


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        (["--only", "C99"], "--only C99: claims are C01 to C21, with commas between several"),
        (["--only", "C01,C0,C99"], "--only C0, C99: claims are C01 to C21"),
        (["--only", " , "], "--only nothing: claims are C01 to C21"),
        (["--provider", "nope"], "unknown provider 'nope'; known are: embedded, hosts"),
        (["--inventory", "/nope.yaml"], "/nope.yaml: "),
    ],
)
def test_bad_orders(run: Run, tmp_path: Path, switches: list[str], said: str) -> None:
    """One line, exit 2, nothing written."""
    finished = run("reproduce-article", *switches, "--out", tmp_path / "out")
    assert said in finished.refusal
    assert finished.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["folder with a file", "file"])
def test_a_taken_place_is_refused(taken: str, run: Run, tmp_path: Path) -> None:
    """--out never overwrites: one line, exit 2, no lab is run, all as before."""
    place = tmp_path / "out"
    if taken == "file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / "claims.json").write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    finished = run("reproduce-article", "--only", "C10", "--out", place)
    assert finished.refusal.startswith(f"{place}: exists already")
    assert (finished.stdout, finished.stderr.count("delayed-syn")) == ("", 0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["1 of 2: delayed-syn", "play the scenes", "2 of 2: lost-last-ack"])
def test_interrupted(start: Lab, tmp_path: Path, step: str, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end all of it, in one line, with exit 2 and nothing left, and no lab that follows is run."""
    running = start("reproduce-article", "--only", "C10,C16", "--out", tmp_path / "out")
    running.wait_for_step(step)
    began = time.monotonic()
    os.killpg(running.process.pid, number)
    finished = running.finish()
    assert time.monotonic() - began < 20  # it has deadlines, whatever the load
    assert finished.refusal.startswith("interrupted: ")
    assert finished.stdout == ""
    assert ("2 of 2" in finished.stderr) == step.startswith("2")
    assert running.watch.look() == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """A folder of an ordinary user's."""
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="lab-of-an-ordinary-user-") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.mark.usefixtures("root")
def test_an_ordinary_user_can_run_it(start: Lab, users_folder: Path) -> None:
    """Without root, and so without the kernel's trace, the claims have the same verdicts."""
    as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    python = [sys.executable, "-c", "import harness.cli"]
    for needed in (python, ["unshare", "--user", "--map-current-user", "--keep-caps", "--net", *python]):
        tried = subprocess.run([*as_nobody, *needed], cwd="/", capture_output=True, text=True, check=False, timeout=30)
        if tried.returncode:
            pytest.skip(f"an ordinary user cannot run {needed[0]} here: {tried.stderr.strip()[-200:]}")
    running = start("reproduce-article", "--out", users_folder / "out", prefix=as_nobody, home=users_folder)
    finished = running.finish(seconds=SECONDS)
    claims = json.loads((users_folder / "out" / "claims.json").read_text(encoding="utf-8"))["claims"]
    assert {claim["id"]: claim["verdict"] for claim in claims} == VERDICTS
    assert (finished.status, finished.complaints) == (0, [])
