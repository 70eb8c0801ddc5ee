"""The run folder: whole or not at all, and never over another."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.kernel_states import Clock, HostStates, SocketState
from harness.runs import RunRecord, new_run_folder, read_run
from harness.tcp.segment import NotShown


def write_one(out: Path | None, root: Path, text: str) -> Path:
    with new_run_folder(out, root, "handshake") as (folder, final):
        folder.write("run.json", text)
    return final[0]


def test_it_appears_whole_under_its_name(tmp_path: Path) -> None:
    """Nothing under the final name while it is written; then all of it, and nothing else."""
    with new_run_folder(None, tmp_path / "runs", "handshake") as (folder, final):
        folder.write("a", "text")
        folder.write("b", b"\0bytes")
        assert not final
        assert all(path.name.startswith(".") for path in (tmp_path / "runs").iterdir())
    assert final[0].name.endswith("Z-handshake")
    assert sorted(path.name for path in final[0].iterdir()) == ["a", "b"]
    assert list((tmp_path / "runs").iterdir()) == final


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    """A run that fails half-way leaves no folder."""

    def interrupted() -> None:
        with new_run_folder(None, tmp_path, "handshake") as (folder, _):
            folder.write("a", "text")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    """Runs in the same second do not share a folder."""
    found: list[Path] = []
    threads = [threading.Thread(target=lambda n=n: found.append(write_one(None, tmp_path, str(n)))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((path / "run.json").read_text() for path in found) == sorted(map(str, range(12)))
    assert len(set(found)) == 12


def test_out_must_be_free(tmp_path: Path) -> None:
    """--out: a new or an empty folder; what is there already stays as it is."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert write_one(empty, tmp_path, "x") == empty
    with pytest.raises(HarnessError, match="never overwrites"):
        write_one(empty, tmp_path, "y")
    assert (empty / "run.json").read_text() == "x"
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(HarnessError, match="never overwrites"):
        write_one(file, tmp_path, "y")
    assert file.read_text() == "mine"
    assert write_one(tmp_path / "new" / "deep", tmp_path, "z").is_dir()


def test_out_where_nothing_can_be_made_is_one_line(tmp_path: Path) -> None:
    """A file where a folder should be: one line that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot make the run folder") as raised:
        write_one(tmp_path / "file" / "run", tmp_path, "x")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"four_tuple": 3}', "null"])
def test_a_damaged_run_folder_is_one_line(tmp_path: Path, content: str) -> None:
    """Neither a traceback nor a verdict."""
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "states.json").write_text('{"hosts": {}}')
    with pytest.raises(HarnessError, match="not a run folder"):
        read_run(tmp_path)
    with pytest.raises(HarnessError, match="not a run folder"):
        read_run(tmp_path / "nothing")


def record(**states: Any) -> RunRecord:
    document = {
        "four_tuple": {"initiator": "10.0.0.1:5000", "responder": "10.0.0.2:22"},
        "hosts": {"server": {"address": "10.0.0.1"}, "client": {"address": "10.0.0.2"}},
    }
    silent = HostStates(None, None, None)
    return RunRecord(json.loads(json.dumps(document)), {"server": silent, "client": silent, **states})


def seen(state: str, local: str = "10.0.0.1:5000", remote: str = "10.0.0.2:22") -> SocketState:
    return SocketState(1.0, local, remote, state)


def test_what_a_host_said_of_the_labs_connection() -> None:
    """Only the lab's sockets count; a state is told once in a row; gone is CLOSED."""
    other = seen("TIME-WAIT", local="10.0.0.1:6000")
    said = HostStates(
        samples=(seen("ESTABLISHED"), other, seen("ESTABLISHED"), seen("TIME-WAIT")),
        trace=(seen("SYN-SENT"), other, seen("ESTABLISHED")),
        final=(other,),
    )
    run = record(server=said)
    assert run.sampled_states("initiator") == ["ESTABLISHED", "TIME-WAIT"]
    assert run.traced_states("initiator") == ["SYN-SENT", "ESTABLISHED"]
    assert run.final_state("initiator") == "CLOSED"


def test_a_host_that_nobody_asked_shows_nothing() -> None:
    """No ss is not the same as no socket."""
    run = record()
    assert run.traced_states("responder") is None
    with pytest.raises(NotShown):
        run.final_state("responder")
    with pytest.raises(NotShown):
        run.sampled_states("responder")


ACTIVE = ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]


@pytest.mark.parametrize(
    ("traced", "inferred", "agrees"),
    [
        (["SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSED"], ACTIVE, True),
        (["SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "CLOSING", "CLOSED"], ACTIVE, False),
        (["SYN-SENT", "ESTABLISHED"], ACTIVE, False),
        ([], ACTIVE, False),
        ([], ["CLOSED"], True),
        (["CLOSED"], ["CLOSED"], False),
        (["SYN-SENT", "CLOSED"], ["CLOSED", "SYN-SENT", "CLOSED"], True),
    ],
)
def test_the_trace_against_what_was_inferred(traced: list[str], inferred: list[str], agrees: bool) -> None:
    """The kernel hands TIME-WAIT over, and an end that was closed all along has no transition."""
    run = record(server=HostStates(samples=None, trace=tuple(map(seen, traced)), final=None))
    doubt = run.doubt("initiator", inferred)
    assert (doubt == "") is agrees
    assert agrees or "the packets say" in doubt


@pytest.mark.parametrize(
    ("states", "agrees"),
    [
        (["ESTABLISHED", "FIN-WAIT-2", "TIME-WAIT"], True),
        (["TIME-WAIT"], True),
        (["FIN-WAIT-2", "ESTABLISHED"], False),
        (["CLOSE-WAIT"], False),
    ],
)
def test_samples_against_what_was_inferred(states: list[str], agrees: bool) -> None:
    """Where the trace cannot be read: each state seen, in this order."""
    run = record(server=HostStates(samples=tuple(map(seen, states)), trace=None, final=()))
    assert (run.doubt("initiator", ACTIVE) == "") is agrees


def test_another_connection_of_the_same_run() -> None:
    other = seen("ESTABLISHED", local="10.0.0.1:6000", remote="10.0.0.2:7000")
    run = record(server=HostStates(samples=None, trace=(seen("SYN-SENT"), other), final=None))
    assert run.of("10.0.0.1:6000", "10.0.0.2:7000").traced_states("initiator") == ["ESTABLISHED"]
    assert run.traced_states("initiator") == ["SYN-SENT"]


def test_states_with_their_times() -> None:
    """When each began, by a trace whose clock was measured; else when ss(8) first saw it."""
    at = (1.0, 2.0, 3.0)
    sampled = tuple(replace(seen(state), time=time) for time, state in zip(at, ("LAST-ACK",) * 3, strict=True))
    trace = tuple(replace(seen(state), time=time) for time, state in zip(at, ("SYN-SENT", "A", "A"), strict=True))
    clock = Clock(5.0, 1e-6)
    both = record(server=HostStates(sampled, trace, sampled[:1], clock))
    assert both.timed_states("initiator") == ([*trace[:2]], clock)
    for without in (HostStates(sampled, None, ()), HostStates(sampled, trace, ())):
        assert record(server=without).timed_states("initiator") == ([sampled[0]], None)
    with pytest.raises(NotShown, match="no ss on the initiator's host, and no trace"):
        record(server=HostStates(None, trace, None)).timed_states("initiator")


@pytest.mark.parametrize(("provider", "responders"), [("embedded", True), ("hosts", False), (None, False)])
def test_whose_clock_is_the_captures(provider: str | None, responders: bool) -> None:
    """The capture is taken on the server host; the embedded hosts are one machine."""
    run = record()
    run.document["provider"] = provider
    assert (run.on_the_captures_clock("initiator"), run.on_the_captures_clock("responder")) == (True, responders)
