"""What `./invoke analyze` promises: the document's form, one line a conversation, and one line about what is wrong."""

import gzip
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import analysis
from harness.analysis import EndFilter, analyze
from harness.captures import reading
from harness.errors import HarnessError
from harness.tcp.notation import parse
from tests.pcaps import encode, frames_of

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests/data/four-segment.pcap"
CLOSED = """
    +0    > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
    +.010 < S. 0:0(0) ack 1 <mss 1400>
    +.005 > .  1:1(0) ack 1
    +0    > P. 1:22(21) ack 1
    +.5   > P. 1:22(21) ack 1
    +0    < .  1:1(0) ack 22
    +0    > F. 22:22(0) ack 1
    +0    < .  1:1(0) ack 23
    +0    < F. 1:1(0) ack 23
    +0    > .  23:23(0) ack 2
"""
CAPTURE_KEYS = ["format", "link_types", "frames", "tcp_segments", "other_frames", "truncated"]
CONVERSATION_KEYS = [
    *("initiator", "responder", "initiator_isn", "responder_isn", "open", "close", "closer", "conn_state", "history"),
    *("completeness", "first_frame", "last_frame", "segment_count", "bytes_initiator", "bytes_responder"),
]
SEGMENT_KEYS = [
    *("frame", "time", "from", "flags", "seq", "ack", "len", "win", "notes", "initiator_state", "responder_state"),
]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two conversations, the second without a SYN."""
    other = "+0 < P. 1:5(4) ack 1\n+0 > . 1:1(0) ack 5\n"
    frames = frames_of(parse(CLOSED)) + frames_of(parse(other, initiator="10.0.0.1:5000", responder="10.0.0.2:80"))
    path = tmp_path / "two.pcap"
    path.write_bytes(encode(frames))
    return path


def document(capsys: pytest.CaptureFixture[str], path: Path, **switches: Any) -> dict[str, Any]:
    """What --json prints."""
    assert analyze([path], **{"json": True, "segments": False, "filter_": None, "absolute": False, **switches}) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def text(capsys: pytest.CaptureFixture[str], path: Path, **switches: Any) -> list[str]:
    """The lines that are printed without --json."""
    assert analyze([path], **{"json": False, "segments": False, "filter_": None, "absolute": False, **switches}) == 0
    return capsys.readouterr().out.splitlines()


def test_the_documents_form(capsys: pytest.CaptureFixture[str], two: Path) -> None:
    """Keys, types and order are the contract."""
    found = document(capsys, two, segments=True)
    assert list(found) == ["schema", "capture", "conversations"]
    assert found["schema"] == "tcp-lab/analysis/v1"
    assert list(found["capture"])[: len(CAPTURE_KEYS)] == CAPTURE_KEYS
    assert found["capture"] == {
        "format": "pcap", "link_types": ["EN10MB"], "frames": 12, "tcp_segments": 12, "other_frames": 0,
        "truncated": False, "damage": None,
    }  # fmt: skip
    first, second = found["conversations"]
    assert list(first)[: len(CONVERSATION_KEYS)] == CONVERSATION_KEYS
    assert [first[key] for key in CONVERSATION_KEYS] == [
        *("192.168.1.63:40000", "192.168.1.64:22", 1000, 5000, "three-way", "four-segment", "initiator", "SF"),
        *("ShADTaFf", 31, 1, 10, 10, 21, 0),
    ]
    assert (first["retransmissions_initiator"], first["retransmissions_responder"]) == (1, 0)
    assert first["handshake_rtt"] == pytest.approx(0.015)
    assert (first["options_initiator"]["mss"], first["options_responder"]["window_scale"]) == (1460, None)
    assert (second["initiator"], second["responder"]) == ("10.0.0.1:5000", "10.0.0.2:80")
    assert [second[key] for key in CONVERSATION_KEYS[2:7]] == [None, None, "not-shown", "open", None]
    assert list(first["segments"][0]) == SEGMENT_KEYS
    syn, data_again = first["segments"][0], first["segments"][4]
    assert [syn[key] for key in SEGMENT_KEYS if key != "time"] == [
        *(1, "initiator", "S", 1000, None, 0, 64240, [], "SYN-SENT", "LISTEN"),
    ]
    assert data_again["notes"] == ["retransmission"]
    assert (data_again["seq"], data_again["ack"], data_again["len"]) == (1001, 5001, 21)


def test_segments_only_on_demand(capsys: pytest.CaptureFixture[str], two: Path) -> None:
    """The summary is the same with them and without."""
    short, long = document(capsys, two), document(capsys, two, segments=True)
    for one, other in zip(short["conversations"], long["conversations"], strict=True):
        assert "segments" not in one
        assert len(other.pop("segments")) == one["segment_count"]
        assert one == other


def test_times_have_all_their_digits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A float does not hold nanoseconds since the epoch; the document does."""
    path = tmp_path / "x.pcap"
    frames = frames_of(parse("+0 > S 0:0(0)"))
    path.write_bytes(encode([replace(frames[0], time=10**18 + 1)], nanoseconds=True))
    analyze([path], json=True, segments=True, filter_=None, absolute=False)
    assert '"time": 1000000000.000000001' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ("192.168.1.64:22", 1), ("192.168.1.63", 1), (":80", 1), (":443", 0), ("10.0.0.2:22", 0), ("10.0.0.1:5000", 1),
        ("[fe80::1]:22", 0), ("fe80::1", 0),
    ],
)  # fmt: skip
def test_filter(capsys: pytest.CaptureFixture[str], two: Path, wanted: str, count: int) -> None:
    """By address, port or both; the capture's own numbers stay."""
    for segments in (False, True):
        found = document(capsys, two, filter_=wanted, segments=segments)
        assert len(found["conversations"]) == count
        assert found["capture"]["tcp_segments"] == 12


@pytest.mark.parametrize("wanted", ["host:22", "1.2.3.4:ssh", "1.2.3.4:70000", ":", "[::1", "1.2.3:22", ":-1"])
def test_a_filter_that_is_none(wanted: str) -> None:
    """One line that shows what is wanted."""
    with pytest.raises(HarnessError, match=r"^--filter .*: want HOST:PORT, HOST or :PORT"):
        EndFilter(wanted)


def test_one_conversation_is_drawn(capsys: pytest.CaptureFixture[str], two: Path) -> None:
    """One line a conversation; the ladder for one, or with --segments."""
    lines = text(capsys, two)
    assert len(lines) == 3
    assert lines[0] == "pcap (EN10MB): 12 frames, 12 TCP segments"
    assert lines[1].startswith("192.168.1.63:40000 → 192.168.1.64:22: open three-way, close four-segment by initiator")
    one = text(capsys, two, filter_=":22")
    assert any("retransmission" in line for line in one)
    assert sum("▶" in line or "◀" in line for line in one) == 10
    assert sum("▶" in line or "◀" in line for line in text(capsys, two, segments=True)) == 12


def test_a_filter_that_no_conversation_passes(capsys: pytest.CaptureFixture[str], two: Path) -> None:
    """It is said."""
    assert text(capsys, two, filter_=":443")[1:] == ["no conversation has that end"]


def test_a_capture_too_large_for_memory_has_no_ladder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But its summary; and --segments says what is the matter."""
    for module in (reading, analysis):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    assert len(text(capsys, RECORDED)) == 2
    with pytest.raises(HarnessError, match="larger than"):
        analyze([RECORDED], json=True, segments=True, filter_=None, absolute=False)


@pytest.mark.parametrize("cut", [1, 20, 500])
def test_what_stands_before_damage_is_analyzed(capsys: pytest.CaptureFixture[str], tmp_path: Path, cut: int) -> None:
    """The damage is told with its offset, on standard error too; the status is that of an analysis that was done."""
    data = RECORDED.read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(data[:-cut])
    for segments in (False, True):
        analyze([path], json=True, segments=segments, filter_=None, absolute=False)
        said = capsys.readouterr()
        found = json.loads(said.out)
        assert found["capture"]["truncated"] is True
        assert f"at byte {found['capture']['damage'].rpartition(' ')[2]}" in said.err
        assert found["conversations"][0]["open"] == "three-way"


def test_gzip_is_read_in_pieces_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And a stream that is cut gives what it holds."""
    path = tmp_path / "x.pcap.gz"
    packed = gzip.compress(RECORDED.read_bytes())
    path.write_bytes(packed)
    assert document(capsys, path) == document(capsys, RECORDED)
    path.write_bytes(packed[:-100])
    found = document(capsys, path)
    assert found["capture"]["truncated"] is True
    assert 0 < found["conversations"][0]["segment_count"] < 69


def test_small_pieces_change_nothing(
    capsys: pytest.CaptureFixture[str], two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file larger than what is read at a time says the same."""
    whole, recorded = document(capsys, two), document(capsys, RECORDED)
    monkeypatch.setattr(reading, "PIECE", 200)
    assert document(capsys, two) == whole
    assert document(capsys, RECORDED) == recorded


def test_no_tcp(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No conversation is an answer."""
    path = tmp_path / "x.pcap"
    path.write_bytes(encode([]))
    assert document(capsys, path)["conversations"] == []
    assert text(capsys, path) == ["pcap (EN10MB): 0 frames, 0 TCP segments"]


def test_the_command(tmp_path: Path) -> None:
    """As its user calls it: the document alone on standard output; one line and status 2 for what is no capture."""
    done = subprocess.run(
        [str(ROOT / "invoke"), "analyze", "--capture", str(RECORDED), "--json"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout)["conversations"][0]["close"] == "four-segment"
    assert done.stderr == ""
    (tmp_path / "x").write_text("no capture")
    for argument in (str(tmp_path / "x"), str(tmp_path / "missing"), str(tmp_path)):
        done = subprocess.run(
            [str(ROOT / "invoke"), "analyze", "--capture", argument],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert argument in done.stderr


@pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap is not installed: no second opinion")
def test_pcapng_says_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Whatever the file's form."""
    path = tmp_path / "x.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", str(RECORDED), str(path)], check=True, timeout=60)
    assert document(capsys, path)["conversations"] == document(capsys, RECORDED)["conversations"]


def test_several_captures(capsys: pytest.CaptureFixture[str], two: Path, tmp_path: Path) -> None:
    """A document each, in their order; one that cannot be read is told of, and the others are analyzed."""
    damaged = tmp_path / "damaged.pcap"
    damaged.write_bytes(two.read_bytes()[:-1])
    paths = [two, tmp_path / "none.pcap", RECORDED, damaged]
    switches: dict[str, Any] = {"segments": False, "filter_": None, "absolute": False}
    assert analyze(paths, json=True, **switches) == 2
    out, errors = capsys.readouterr()
    documents, at, read = [], 0, json.JSONDecoder()
    while out[at:].strip():
        found, at = read.raw_decode(out, at + len(out[at:]) - len(out[at:].lstrip()))
        documents.append(found)
    assert documents == [document(capsys, path) for path in (two, RECORDED, damaged)]
    assert [line.split(":")[0] for line in errors.splitlines()] == [str(paths[1]), str(damaged)]
    assert analyze([two, RECORDED], json=False, **switches) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in map(str, paths)] == [str(two), str(RECORDED)]
    assert analyze([two, RECORDED], json=False, **{**switches, "segments": True}) == 0
    assert capsys.readouterr().out.count("│") > 20
