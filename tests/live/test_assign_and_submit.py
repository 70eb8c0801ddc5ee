"""From the roster to the bundle: assign, run with the assignment, submit; and what is refused on the way."""

import hashlib
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.assigning import assign
from harness.captures.reading import load_capture
from harness.errors import HarnessError
from harness.experiment import Experiment
from harness.grading.nonces import Assignment, nonce, read_assignment
from harness.grading.provenance import banner_nonces, manifest_problems, provenance_of
from harness.grading.signatures import verify
from harness.runs import RunFolder
from harness.session import FourTuple
from harness.submitting import UNSIGNED, submit
from harness.tcp.conversation import conversations
from harness.tcpdump import Captured
from tests.live.watching import ROOT, SECONDS, Finished, Invocation, Watch
from tests.pcaps import decode

Run = Callable[..., Finished]
CAPTURE = (ROOT / "tests" / "data" / "four-segment.pcap").read_bytes()
SECRET = b"a secret for these tests"
ROSTER = "Name,Student,Partner\nAda,ada,\nGrace,grace,alan\nAlan,alan,\n"
NONCES = {name: nonce(SECRET, "tcp-lab", "handshake", name) for name in ("ada", "grace", "alan")}

# Brings up hosts whose sshd says nothing of its own, as those have that exist already.
_SILENT = """
from harness.hosts import testbeds
whole = testbeds.PROVIDERS["embedded"]
testbeds.PROVIDERS["embedded"] = lambda inventory, *_: whole(inventory)
"""


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the keys of who runs it."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def course_in(folder: Path) -> tuple[Path, Path]:
    """A roster and a secret's file."""
    roster, secret = folder / "roster.csv", folder / "secret"
    roster.write_text(ROSTER, encoding="utf-8")
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    return roster, secret


# -- assign ----------------------------------------------------------------------------------------------------------


def test_assign_gives_each_student_a_file(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """STUDENT/assignment.yaml with the nonce, mode 0600; the same again; another course has others. No secret in it."""
    roster, secret = course_in(tmp_path)
    out = tmp_path / "out"
    first = run("assign", "--lab", "handshake", "--roster", roster, "--secret-file", secret, "--out", out)
    assert (first.status, first.stderr) == (0, "")
    assert first.stdout == f"{out}: 3 assignments of the lab handshake in the course tcp-lab (3 new)\n"
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {str(path.relative_to(out)) for path in files} == {f"{name}/assignment.yaml" for name in NONCES}
    assert {read_assignment(path).student: read_assignment(path).nonce for path in files} == NONCES
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not [path for path, data in files.items() if SECRET in data]
    assert assign("handshake", roster=roster, secret_file=secret, out=out, course="tcp-lab") == 0
    assert "(3 as before)" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in files} == files
    assert assign("handshake", roster=roster, secret_file=secret, out=out, course="networks 2") == 0
    assert "(3 changed)" in capsys.readouterr().out
    assert {read_assignment(path).nonce for path in files}.isdisjoint(NONCES.values())
    assert sorted(path.name for path in out.iterdir()) == sorted(NONCES)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"lab": "nothing"}, "no lab 'nothing'; there are: article, "),
        ({"roster": Path("empty.csv")}, "empty.csv:1: no header"),
        ({"secret_file": Path("nothing")}, "nothing: cannot read the secret"),
        ({"secret_file": Path("roster.csv")}, "chmod 600 roster.csv"),
        ({"out": Path("roster.csv")}, "cannot write the assignments: "),
        ({"course": "a\nb"}, "--course: expected a name"),
    ],
)
def test_assign_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], why: str) -> None:
    """One line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    roster, secret = course_in(tmp_path)
    Path("empty.csv").touch()
    given = {"lab": "handshake", "roster": roster, "secret_file": secret, "out": Path("out"), "course": "c", **changed}
    with pytest.raises(HarnessError) as raised:
        assign(given.pop("lab"), **given)
    assert why in str(raised.value)
    assert str(raised.value).isprintable()
    assert not Path("out").exists()
    assert roster.read_text(encoding="utf-8") == ROSTER


# -- a run with an assignment ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assigned:
    """A run with Ada's assignment."""

    finished: Finished
    folder: Path

    @property
    def document(self) -> dict[str, Any]:
        """Its run.json."""
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return found


def assignment_file(folder: Path, **changed: str) -> Path:
    """Ada's assignment."""
    fields = {"course": "tcp-lab", "lab": "handshake", "student": "ada", "nonce": NONCES["ada"], **changed}
    path = folder / "assignment.yaml"
    path.write_text(yaml.safe_dump({"schema": "tcp-lab/assignment/v1", **fields}), encoding="utf-8")
    return path


@contextmanager
def assigned_run(folder: Path, patch: str | None = None) -> Iterator[Assigned]:
    """Run the lab with Ada's assignment."""
    watch = Watch()
    switches = ("run-handshake-lab", "--assignment", assignment_file(folder), "--out", folder / "run")
    try:
        with Invocation(*switches, watch=watch, patch=patch) as running:
            yield Assigned(running.finish(), folder / "run")
    finally:
        watch.close()


@pytest.fixture(scope="module")
def assigned(tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Iterator[Assigned]:
    """One run on the embedded hosts."""
    assert namespaces is None
    with assigned_run(tmp_path_factory.mktemp("assigned")) as made:
        yield made


def test_the_nonce_is_on_the_wire(assigned: Assigned) -> None:
    """It ends the responder's identification (RFC 4253 §4.2), in clear, and is in run.json; the lab loses nothing."""
    assert assigned.finished.status == 0
    assert assigned.finished.complaints == []
    assert "passed: 100 of 100 points" in assigned.finished.stdout
    frames = decode((assigned.folder / "capture.pcap").read_bytes())
    banners = {frame.sport == 22: frame.payload for frame in reversed(frames) if frame.payload.startswith(b"SSH-")}
    assert banners[True].startswith(b"SSH-2.0-OpenSSH_")
    assert banners[True].endswith(f" {NONCES['ada']}\r\n".encode())
    assert len(banners[True]) <= 255
    assert b"tcp-lab" not in banners[False]
    given = {"course": "tcp-lab", "lab": "handshake", "student": "ada", "nonce": NONCES["ada"], "on_the_wire": True}
    assert assigned.document["assignment"] == given
    assert assigned.document["schema"] == "tcp-lab/run/v1"


@pytest.mark.usefixtures("namespaces")
def test_a_nonce_that_is_not_on_the_wire_is_told(tmp_path: Path) -> None:
    """Where the sshd is not the harness's, the nonce is in run.json only, and one line says so."""
    with assigned_run(tmp_path, patch=_SILENT) as made:
        (line,) = made.finished.complaints
        assert line.startswith("the nonce of ada is in run.json only")
        assert made.finished.status == 0
        assert made.document["assignment"]["nonce"] == NONCES["ada"]
        assert made.document["assignment"]["on_the_wire"] is False
        assert NONCES["ada"].encode() not in (made.folder / "capture.pcap").read_bytes()


@pytest.mark.parametrize("pcap", [b"", f" {NONCES['ada']}\r\n".encode()])
def test_run_json_tells_of_an_assignment(tmp_path: Path, pcap: bytes) -> None:
    """Whose run it is, and whether the capture shows it; without an assignment there is no such key."""
    fields = {
        "lab": "handshake",
        "run_id": "x",
        "provider": "hosts",
        "entries": {},
        "facts": {},
        "states": {},
        "commands": {},
    }
    captured = Captured(pcap, "", {}, "")
    whole = Experiment(
        **fields,  # type: ignore[arg-type]
        four_tuple=FourTuple("", ""),
        captured=captured,
        details={"close_asked": "four"},
        timings={},
        began=0,
    )
    assignment = Assignment("tcp-lab", "handshake", "ada", NONCES["ada"])
    told = []
    for one in (whole, replace(whole, assignment=assignment)):
        one.write(RunFolder(tmp_path))
        told.append(json.loads((tmp_path / "run.json").read_text(encoding="utf-8")))
    given = {"course": "tcp-lab", "lab": "handshake", "student": "ada", "nonce": NONCES["ada"]}
    assert told[1].pop("assignment") == {**given, "on_the_wire": bool(pcap)}
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"lab": "other"}, "is for the lab other, not for handshake"),
        ({"nonce": "x\nPort 1"}, "nonce: expected tcp-lab-"),
    ],
)
def test_a_wrong_assignment_is_refused_at_once(run: Run, tmp_path: Path, changed: dict[str, str], why: str) -> None:
    """One line, before anything is started."""
    path = assignment_file(tmp_path, **changed)
    finished = run("run-handshake-lab", "--assignment", path, "--out", tmp_path / "run")
    assert why in finished.refusal
    assert finished.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


# -- submit ----------------------------------------------------------------------------------------------------------


def new_key(folder: Path) -> tuple[Path, Path]:
    """A fresh key, and a file of allowed signers where it is Ada's."""
    key, allowed = folder / "id", folder / "allowed_signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    allowed.write_text(f"ada {Path(f'{key}.pub').read_text(encoding='utf-8')}", encoding="utf-8")
    return key, allowed


def unpacked(path: Path) -> dict[str, bytes]:
    """The files of a bundle."""
    with zipfile.ZipFile(path) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name) for name in bundle.namelist()}


def test_from_the_run_to_a_signed_bundle(assigned: Assigned, run: Run, tmp_path: Path) -> None:
    """The bundle holds the run whole, signed; ssh-keygen verifies it, and it is Ada's on the wire and by signature."""
    key, allowed = new_key(tmp_path)
    out = tmp_path / "ada.zip"
    (assigned.folder / "answers.yaml").write_text("closer: initiator\n", encoding="utf-8")
    finished = run("submit", "--run", assigned.folder, "--student", "ada", "--key", key, "--out", out)
    assert finished.status == 0, finished
    assert finished.stderr.startswith(f"{assigned.folder / 'answers.yaml'}: not answered: ")
    assert finished.stdout.startswith("passed: 100 of 100 points")
    assert f"bundle: {out}" in finished.stdout
    files = unpacked(out)
    kept = ("answers.yaml", "capture.pcap", "run.json", "states.json")
    assert sorted(files) == list(files) == sorted([*kept, "manifest.json", "manifest.json.sig"])
    assert all(files[name] == (assigned.folder / name).read_bytes() for name in kept)
    manifest = json.loads(files["manifest.json"])
    assert (manifest["student"], manifest["nonce"]) == ("ada", NONCES["ada"])
    assert manifest["files"] == {name: hashlib.sha256(files[name]).hexdigest() for name in kept}

    signature = tmp_path / "manifest.json.sig"
    signature.write_bytes(files["manifest.json.sig"])
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "ada", "-n", "tcp-lab", "-s", signature]
    subprocess.run(command, input=files["manifest.json"], check=True, capture_output=True)  # type: ignore[arg-type]

    (conversation,) = conversations(load_capture(assigned.folder / "capture.pcap").segments)
    given: dict[str, Any] = {
        "lab": "handshake",
        "run_document": json.loads(files["run.json"]),
        "manifest": files["manifest.json"],
        "files": files,
        "expected_nonce": NONCES["ada"],
    }
    state = verify(allowed, "ada", files["manifest.json"], files["manifest.json.sig"])
    assert (state, manifest_problems(files["manifest.json"], files)) == ("valid", ())
    on_the_wire = banner_nonces(conversation)
    found = provenance_of("ada", banner_nonces=on_the_wire, signature=state, **given)
    assert (found.kind, found.flags) == ("wire", ())
    assert provenance_of("ada", signature=state, **given).kind == "signed"
    assert provenance_of("ada", **given).kind == "run"
    stolen = {**given, "expected_nonce": NONCES["alan"], "nonces_of_others": {NONCES["ada"]: "ada"}}
    found = provenance_of("alan", banner_nonces=on_the_wire, signature="other-key", **stolen)
    assert found.kind == "none"
    assert {flag.kind for flag in found.flags} == {"other-nonce", "other-student", "bad-signature"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder made by hand, of a run with Ada's assignment; its capture is sound, nobody looked at its sockets."""
    (frame,) = [frame for frame in decode(CAPTURE) if frame.flags == 2]
    path = tmp_path / "run"
    path.mkdir()
    addresses = {"server": "192.168.1.63", "client": "192.168.1.64"}
    document = {
        "schema": "tcp-lab/run/v1",
        "lab": "handshake",
        "provider": "embedded",
        "hosts": {role: {"address": address} for role, address in addresses.items()},
        "four_tuple": {"initiator": f"192.168.1.63:{frame.sport}", "responder": "192.168.1.64:22"},
        "capture_sha256": hashlib.sha256(CAPTURE).hexdigest(),
        "assignment": {"course": "c", "lab": "handshake", "student": "ada", "nonce": NONCES["ada"]},
    }
    nobody = {"samples": None, "trace": None, "final": None}
    (path / "capture.pcap").write_bytes(CAPTURE)
    (path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    (path / "states.json").write_text(json.dumps({"hosts": dict.fromkeys(addresses, nobody)}), encoding="utf-8")
    (path / "results.json").write_text('{"outcome": "passed"}', encoding="utf-8")
    return path


def test_an_unsigned_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key it says what that means; mode 0600; other captures and the answers are in it, and nothing else."""
    (folder / "again.pcapng.gz").write_bytes(b"not looked at")
    (folder / "answers.yaml").write_text("closer: ada\n", encoding="utf-8")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert submit(folder, "ada", key=None, out=None, questions=()) == 0
    said = capsys.readouterr().out
    assert "failed: " in said  # nobody looked at the sockets: the checks that lost points are shown
    assert " ? " in said
    assert "not signed: " in said
    out = folder.parent / "ada-handshake.zip"
    names = ["again.pcapng.gz", "answers.yaml", "capture.pcap", "manifest.json", "run.json", "states.json"]
    files = unpacked(out)
    assert list(files) == names
    assert manifest_problems(files["manifest.json"], files) == ()
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as bundle:
        assert {entry.date_time for entry in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 & 0o777 for entry in bundle.infolist()} == {0o600}
    assert {path.name for path in folder.parent.iterdir()} == {"run", "ada-handshake.zip"}


def test_the_default_key_signs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """~/.ssh/id_ed25519, unless it is told not to; the same files and key make the same bundle, byte for byte."""
    home = Path(os.environ["HOME"]) / ".ssh"
    home.mkdir()
    key, allowed = new_key(home)
    key.rename(home / "id_ed25519")
    out = folder.parent / "ada-handshake.zip"
    made = []
    for _ in range(2):
        submit(folder, "ada", key=None, out=None, questions=())
        made.append(out.read_bytes())
    assert made[0] == made[1]
    files = unpacked(out)
    assert verify(allowed, "ada", files["manifest.json"], files["manifest.json.sig"]) == "valid"
    assert f"signed with {home / 'id_ed25519'}" in capsys.readouterr().out
    submit(folder, "ada", key=UNSIGNED, out=None, questions=())
    assert "manifest.json.sig" not in unpacked(out)


def changed_run(folder: Path, **changed: Any) -> None:
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**document, **changed}), encoding="utf-8")


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda f: changed_run(f, assignment={"student": "bob"}), "made with the assignment of bob, not of ada"),
        (lambda f: changed_run(f, lab="nothing"), "no lab 'nothing'; there are: article, "),
        (lambda f: changed_run(f, lab="../x"), "does not say of which lab"),
        (lambda f: changed_run(f, capture_sha256="0"), "capture.pcap: not the capture that run.json tells of"),
        (write("capture.pcap", "x"), "capture.pcap: not the capture that run.json tells of"),
        (lambda f: (f / "capture.pcap").unlink(), "capture.pcap: cannot read it"),
        (lambda f: (f / "states.json").unlink(), "not a run folder"),
        (lambda f: (f / "results.json").unlink(), "was not judged; run the lab again"),
        (
            write("results.json", '{"outcome": "not-judged", "cause": "2 frames lost"}'),
            r"judged \(2 frames lost\); run",
        ),
        (write("results.json", "[" * 9999), r"results\.json: damaged"),
        (write("run.json", "[" * 99_999), "not a run folder: run.json or states.json is damaged"),
        (write("answers.yaml", "a: 1\n- b\n"), r"run/answers\.yaml: line 2: "),
        (shutil.rmtree, "not a run folder: .*No such file"),
    ],
)
def test_what_cannot_be_handed_in(folder: Path, spoil: Callable[[Path], object], why: str) -> None:
    """One line, and no bundle."""
    spoil(folder)
    with pytest.raises(HarnessError, match=why) as raised:
        submit(folder, "ada", key=UNSIGNED, out=None, questions=())
    assert str(raised.value).isprintable()
    assert {path.name for path in folder.parent.iterdir()} <= {"run"}


@pytest.mark.parametrize("student", ["../ada", "", ".", "a\nb"])
def test_an_unsafe_student_is_refused(folder: Path, student: str) -> None:
    """It would be part of a file's name."""
    with pytest.raises(HarnessError, match="--student: the id"):
        submit(folder, student, key=UNSIGNED, out=None, questions=())


def test_wrong_student_key_or_place(folder: Path, run: Run, tmp_path: Path) -> None:
    """Each is one line with status 2; what stands in the place stays as it is."""
    assert "made with the assignment of ada, not of bob" in run("submit", "-r", folder, "-s", "bob").refusal
    with pytest.raises(HarnessError, match="there is no such file; make a key: ssh-keygen -t ed25519"):
        submit(folder, "ada", key=tmp_path / "nothing", out=None, questions=())
    with pytest.raises(HarnessError, match="there is no folder"):
        submit(folder, "ada", key=UNSIGNED, out=tmp_path / "nothing" / "x.zip", questions=())
    precious = tmp_path / "precious.zip"
    with zipfile.ZipFile(precious, "w") as other:
        other.writestr("manifest.json", '{"schema": "tcp-lab/manifest/v1", "lab": "handshake", "student": "bob"}')
    for content in (precious.read_bytes(), b"precious", b""):
        precious.write_bytes(content)
        with pytest.raises(HarnessError, match="exists already and is no bundle of ada for handshake"):
            submit(folder, "ada", key=UNSIGNED, out=precious, questions=())
        assert precious.read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"run", "precious.zip"}


# -- questions -------------------------------------------------------------------------------------------------------

_ASKING = """
import sys
from pathlib import Path
from harness.cli import command
from harness.grading.judging import Question
from harness.submitting import UNSIGNED, submit
texts = {"closer": "Who closes first?", "why": "Why is it one more?", "isn": "Its ISN?"}
asked = [Question(name, text, 1) for name, text in texts.items()]
command(lambda: submit(Path(sys.argv[1]), "ada", key=UNSIGNED, out=None, questions=asked))()
"""


class Terminal:
    """A `submit` with three questions, on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.said = ""
        # Whoever started the tests in the background had SIGINT ignored.
        command = ["setsid", "--ctty", "env", "--default-signal=INT,TERM", sys.executable, "-c", _ASKING, str(folder)]
        environment = {**os.environ, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8:strict"}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment)
        os.close(theirs)

    def read_until(self, sought: str) -> str:
        """All that was said up to that text; then it counts as read."""
        deadline = time.monotonic() + SECONDS
        while sought not in self.said:
            assert select.select([self._ours], [], [], max(0, deadline - time.monotonic()))[0], self.said
            try:
                self.said += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:  # EIO: it has ended
                pytest.fail(f"it ended before {sought!r}: {self.said}")
        before, _, self.said = self.said.partition(sought)
        return before

    def answer(self, question: str, answer: str) -> None:
        """Wait for a question, and type."""
        self.read_until(question)
        self.read_until("> ")
        os.write(self._ours, answer.encode(errors="surrogateescape"))

    def end(self) -> tuple[int, str]:
        """Its status and the last it said."""
        while select.select([self._ours], [], [], SECONDS)[0]:
            try:
                self.said += os.read(self._ours, 4096).decode()
            except OSError:
                break
        return self.process.wait(SECONDS), self.said

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Callable[[], Terminal]]:
    """Open terminals."""
    opened: list[Terminal] = []

    def open_one() -> Terminal:
        opened.append(Terminal(folder))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_questions_are_asked_and_kept(folder: Path, terminal: Callable[[], Terminal]) -> None:
    """Ctrl-C keeps what was answered; the same command asks the rest; what the student wrote by hand stays."""
    answers = folder / "answers.yaml"
    first = terminal()
    first.answer("1/3 Who closes first?", "the initiator: its ssh\n")
    first.answer("2/3 Why is it one more?", "half an ans\x03")
    status, said = first.end()
    assert status == 2
    assert said.splitlines()[-1] == f"stopped: the answers so far are in {answers}; the same command asks for the rest"
    assert not (folder.parent / "ada-handshake.zip").exists()
    assert yaml.safe_load(answers.read_text(encoding="utf-8")) == {"closer": "the initiator: its ssh"}

    answers.write_text("# by hand\nisn:\n" + answers.read_text(encoding="utf-8").rstrip(), encoding="utf-8")
    second = terminal()
    second.answer("1/2 Why is it one more?", "\n")
    second.answer("2/2 Its ISN?", "no text: \udcff\n")
    second.answer("once more:", "12 é \x1b\n")
    status, said = second.end()
    assert status == 0, said
    text = answers.read_text(encoding="utf-8")
    assert text.startswith("# by hand\ncloser: ")  # the name without an answer has one now
    assert yaml.safe_load(text) == {"closer": "the initiator: its ssh", "isn": "12 é"}
    assert answers.stat().st_mode & 0o777 == 0o600
    assert unpacked(folder.parent / "ada-handshake.zip")["answers.yaml"] == text.encode()


def test_end_of_input_with_nothing_answered(folder: Path, terminal: Callable[[], Terminal]) -> None:
    """Ctrl-D: one line, and no file."""
    one = terminal()
    one.answer("1/3 Who closes first?", "\x04")
    status, said = one.end()
    assert status == 2
    assert said.splitlines()[-1] == "stopped: nothing was answered; the same command asks for the rest"
    assert not (folder / "answers.yaml").exists()


def test_without_a_terminal(folder: Path) -> None:
    """One line that says what to write; what is written already is taken as it is, and what it lacks is told."""
    command = [sys.executable, "-c", _ASKING, str(folder)]

    def submitted() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=SECONDS
        )

    answers = folder / "answers.yaml"
    done = submitted()
    why = f"there is no terminal to ask on: write {answers}, a line `NAME: answer` for each of: closer, why, isn"
    assert (done.returncode, done.stderr) == (2, why + "\n")
    assert not (folder.parent / "ada-handshake.zip").exists()
    answers.write_text("why: |\n  two\n  lines\n", encoding="utf-8")
    done = submitted()
    assert (done.returncode, done.stderr) == (0, f"{answers}: not answered: closer, isn\n")
    assert unpacked(folder.parent / "ada-handshake.zip")["answers.yaml"] == answers.read_bytes()
