"""The annotated capture: the same frames to the bit and the nanosecond, and comments that say what they are."""

import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.annotating import NO_LAB, annotate
from harness.captures.commented import Interface, commented
from harness.captures.reading import read_capture
from harness.errors import HarnessError
from harness.evidence import Evidence, evidence_of_run, lab_conversation
from harness.grading.judging import judge, labs
from harness.grading.results import Check, Results, results_json
from harness.reports.annotated import annotated, frame_comments
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse
from tests.pcaps import encode, frames_of
from tests.unit.test_any_legal_conversation import MODULUS, Sent, conversation, isn, talks
from tests.unit.test_pcapng import block, enhanced, interface, old, option, section, simple, tsresol

ROOT = Path(__file__).resolve().parents[2]
GOOD = sorted(ROOT.glob("labs/*/good/*.pcap"))
CAPTURES = [*sorted(ROOT.glob("tests/data/*.pcap")), *sorted(ROOT.glob("tests/data/named/*.pcap"))]
NOWHERE = Interface("unknown", "of a test")
HANDSHAKE = """
    +0 > S  0:0(0)
    +0 < S. 0:0(0) ack 1
    +0 > .  1:1(0) ack 1
"""
CLOSE = """
    +0 > F. 1:1(0) ack 1
    +0 < .  1:1(0) ack 2
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
THREE = """
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
AT_ONCE = """
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 1
    +0 > .  2:2(0) ack 2
    +0 < .  2:2(0) ack 2
"""
needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed: apt-get install tshark, or nobody checks our file"
)


class Packet(NamedTuple):
    """All that a file says of a frame."""

    time: int  # nanoseconds
    link: int
    on_the_wire: int
    data: bytes


def packets_of_pcap(data: bytes) -> list[Packet]:
    """The frames of a whole pcap file, read by nothing of the harness."""
    order = "<" if data[:1] in (b"\xd4", b"\x4d") else ">"
    tick = 1 if bytes(sorted(data[:4])) == b"\x3c\x4d\xa1\xb2" else 1000
    link, at, found = struct.unpack_from(order + "I", data, 20)[0], 24, []
    while at < len(data):
        seconds, rest, kept, wire = struct.unpack_from(order + "IIII", data, at)
        found.append(Packet(seconds * 10**9 + rest * tick, link, wire, data[at + 16 : at + 16 + kept]))
        at += 16 + kept
    return found


def blocks_of(data: bytes) -> list[tuple[int, bytes, str]]:
    """The blocks of a whole pcapng file: type, body, byte order."""
    at, order, found = 0, "<", []
    while at < len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        kind, total = struct.unpack_from(order + "II", data, at)
        assert total % 4 == 0
        assert struct.unpack_from(order + "I", data, at + total - 4)[0] == total
        found.append((kind, data[at + 8 : at + total - 4], order))
        at += total
    return found


def options_of(data: bytes, order: str = "<") -> list[tuple[int, bytes]]:
    """The options at a block's end, which must be marked."""
    at, found = 0, []
    while at < len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            assert data[at:] == bytes(4)
            break
        found.append((code, data[at + 4 : at + 4 + size]))
        at += 4 + (size + 3) // 4 * 4
    return found


def packets_of_pcapng(data: bytes) -> list[Packet]:
    """The frames of a pcapng file of nothing but interfaces in nanoseconds and enhanced packets."""
    links, found = [], []
    for kind, body, order in blocks_of(data):
        if kind == 1:
            links.append(struct.unpack_from(order + "H", body)[0])
        elif kind == 6:
            place, high, low, kept, wire = struct.unpack_from(order + "IIIII", body)
            found.append(Packet(high << 32 | low, links[place], wire, body[20 : 20 + kept]))
    return found


def comments_of(data: bytes) -> dict[int, list[str]]:
    """Frame → its comments, of a pcapng file with enhanced and old packets."""
    found: dict[int, list[str]] = {}
    packets = [(body, order) for kind, body, order in blocks_of(data) if kind in (2, 6)]
    for number, (body, order) in enumerate(packets, 1):
        kept = struct.unpack_from(order + "I", body, 12)[0]
        for code, value in options_of(body[20 + (kept + 3) // 4 * 4 :], order):
            if code == 1:
                found.setdefault(number, []).append(value.decode())
    return found


def one(text: str) -> Conversation:
    """The only conversation of a script, whose ISNs are 1000 and 5000."""
    (found,) = conversations(parse(text))
    return found


def comments(text: str) -> list[list[str]]:
    """The comments' lines on a script's frames, without a rubric."""
    found = frame_comments([one(text)])
    return [found[frame].split("\n") if frame in found else [] for frame in range(1, max(found) + 1)]


def judged(lab: str, data: bytes) -> tuple[Results, list[Conversation]]:
    """What a rubric says of a capture's bytes."""
    found = conversations(read_capture(data, "x").segments)
    return judge(lab, Evidence(lab_conversation(found, "x"), conversations=tuple(found))), found


def results_of(*checks: Check) -> Results:
    return Results("handshake", None, None, checks)


# The frames


frames_in_a_file = st.lists(
    st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 10**9 - 1), st.binary(max_size=90), st.integers(0, 2000)),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(frames_in_a_file, st.sampled_from("<>"), st.booleans(), st.sampled_from([1, 101, 113, 276]), st.data())
def test_a_pcap_files_frames_are_unchanged(
    rows: list[tuple[int, int, bytes, int]], order: str, nanoseconds: bool, link: int, data: st.DataObject
) -> None:
    """Bytes, times to the nanosecond, lengths on the wire of frames that were cut, link type: whatever they hold."""
    magic, tick = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    file = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for seconds, rest, raw, cut in rows:
        file += struct.pack(order + "IIII", seconds, rest // tick, len(raw), len(raw) + cut) + raw
    some = data.draw(st.dictionaries(st.integers(1, 12), st.text(st.characters(exclude_categories=["Cs"]))))
    made = commented(file, "x", some, interface=NOWHERE)
    assert packets_of_pcapng(made.data) == packets_of_pcap(file)
    assert (made.frames, made.damage) == (len(rows), None)
    assert comments_of(made.data) == {frame: [text] for frame, text in some.items() if frame <= len(rows) and text}


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_recorded_captures_are_unchanged(path: Path) -> None:
    """All that the tests have; and what we read of the annotated file is what we read of the capture."""
    data = path.read_bytes()
    found = conversations(read_capture(data, "x").segments)
    made = annotated(data, path.name, found)
    assert packets_of_pcapng(made.data) == packets_of_pcap(data)
    again = conversations(read_capture(made.data, "y").segments)
    assert [list(map(repr, one.segments)) for one in again] == [list(map(repr, one.segments)) for one in found]
    assert [segment.time for one in again for segment in one.segments] == [
        segment.time for one in found for segment in one.segments
    ]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_a_rubric_says_the_same_of_the_annotated_capture(path: Path) -> None:
    """Each lab's good captures: every check, its frames and messages."""
    lab = next(name for name, folder in labs().items() if folder == path.parents[1])
    results, found = judged(lab, path.read_bytes())
    again, _ = judged(lab, annotated(path.read_bytes(), path.name, found, results).data)
    assert results_json(again) == results_json(results)


@needs_tshark
@pytest.mark.parametrize("snaplen", [262144, 70])
def test_editcap_makes_the_same_pcap_of_it(tmp_path: Path, snaplen: int) -> None:
    """A second opinion: back to pcap in nanoseconds, all that it was made of."""
    script = HANDSHAKE + "+0 > P. 1:101(100) ack 1"
    frames = [replace(frame, time=frame.time + 123) for frame in frames_of(parse(script))]
    data = encode(frames, nanoseconds=True, snaplen=snaplen)
    (tmp_path / "a.pcapng").write_bytes(annotated(data, "x", conversations(read_capture(data, "x").segments)).data)
    subprocess.run(
        ["editcap", "-F", "nsecpcap", tmp_path / "a.pcapng", tmp_path / "b.pcap"], check=True, capture_output=True
    )
    assert packets_of_pcap((tmp_path / "b.pcap").read_bytes()) == packets_of_pcap(data)
    cut = [packet for packet in packets_of_pcap(data) if packet.on_the_wire > len(packet.data)]
    assert bool(cut) == (snaplen == 70)


def odd_pcapng(order: str) -> bytes:
    """Two sections; interfaces of two resolutions; packets with comments of their own, old and simple ones."""
    raw = [frame.encode() for frame in frames_of(parse(HANDSHAKE + CLOSE))]
    own = option(1, b"my own", order) + option(2, struct.pack(order + "I", 1), order) + bytes(4)
    data = section(order) + interface(order, option(2, b"eth0", order) + tsresol(9, order))
    data += interface(order, tsresol(3, order)) + enhanced(raw[0], 10**18, order, options=own)
    data += block(0x0BAD, struct.pack(order + "I", 7), order) + enhanced(raw[1], 10**12, order, of=1)
    data += old(raw[2], 10**18 + 2, order) + simple(raw[3], order)
    data += section(">") + interface(">") + enhanced(raw[4][:60], 10**15, ">") + enhanced(raw[5], 10**15 + 1, ">")
    return data + enhanced(raw[6], 10**15 + 2, ">")


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pcapng_file_keeps_all_it_holds(order: str) -> None:
    """Blocks, interfaces, times and comments stay as they are; ours come first, and the application is told."""
    data = odd_pcapng(order)
    made = commented(data, "x", {1: "one", 3: "three", 4: "four", 6: "six"}, about="all", interface=NOWHERE)
    before, after = blocks_of(data), blocks_of(made.data)
    changed = [place for place, (old_one, new) in enumerate(zip(before, after, strict=True)) if old_one != new]
    kinds = [kind for kind, _, _ in before]
    assert kinds == [0x0A0D0D0A, 1, 1, 6, 0x0BAD, 6, 2, 3, 0x0A0D0D0A, 1, 6, 6, 6]
    assert changed == [0, 3, 6, 7, 8, 11], "the sections, and what has a comment"
    assert after[7][0] == 6, "a simple packet has no options: it becomes an enhanced one"
    assert comments_of(made.data) == {1: ["one", "my own"], 3: ["three"], 4: ["four"], 6: ["six"]}
    assert options_of(after[3][1][20 + (len(before[3][1]) - 20 - 24) :], order)[1:] == [
        (1, b"my own"),
        (2, struct.pack(order + "I", 1)),
    ]
    assert options_of(after[0][1][16:], order) == [(1, b"all"), (4, b"tcp-lab")]
    assert options_of(after[8][1][16:], ">") == [(4, b"tcp-lab")]
    read, again = read_capture(data, "x"), read_capture(made.data, "x")
    assert again.damage is None
    assert again.segments.time.tolist() == read.segments.time.tolist()
    assert [again.segments.payload(row) for row in range(7)] == [read.segments.payload(row) for row in range(7)]


def test_it_is_made_of_a_gzip_file_too() -> None:
    """Pcap and pcapng, compressed."""
    import gzip

    for data in (encode(frames_of(parse(HANDSHAKE))), odd_pcapng("<")):
        packed, plain = (commented(file, "x", {2: "two"}, interface=NOWHERE) for file in (gzip.compress(data), data))
        assert packed == plain
    cut = commented(gzip.compress(data)[:-30], "x", {}, interface=NOWHERE)
    assert "gzip" in str(cut.damage)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["pcap", "pcapng"]), st.data())
def test_what_stands_before_damage_is_kept(kind: str, data: st.DataObject) -> None:
    """Of a file that is cut anywhere, or holds nonsense: the frames before, in a file that is whole."""
    whole = encode(frames_of(parse(HANDSHAKE + CLOSE))) if kind == "pcap" else odd_pcapng("<")
    file = bytearray(whole[: data.draw(st.integers(28, len(whole)))])
    if data.draw(st.booleans()):
        file[data.draw(st.integers(28, len(file))) : len(file)] = data.draw(st.binary(max_size=40))
    try:
        read = read_capture(bytes(file), "x")
    except HarnessError:
        with pytest.raises(HarnessError):
            commented(bytes(file), "x", {1: "one"}, interface=NOWHERE)
        return
    made = commented(bytes(file), "x", {1: "one", 2: "two"}, interface=NOWHERE)
    again = read_capture(made.data, "x")
    assert (again.frames, again.damage) == (read.frames, None)
    assert (made.frames, made.damage) == (read.frames, read.damage)
    assert again.segments.time.tolist() == read.segments.time.tolist()


# The comments


def test_the_handshake() -> None:
    """Each step, its arithmetic in numbers as on the wire, and both ends' states after it."""
    assert comments(HANDSHAKE) == [
        ["[handshake 1/3] SYN seq 1000: the ISN of the initiator", "states: initiator SYN-SENT, responder LISTEN"],
        [
            "[handshake 2/3] ack 1001 = ISN 1000 + 1 ✓",
            "[handshake 2/3] SYN seq 5000: the ISN of the responder",
            "states: initiator SYN-SENT, responder SYN-RECEIVED",
        ],
        [
            "[handshake 3/3] ack 5001 = ISN 5000 + 1 ✓",
            "[handshake 3/3] seq 1001 = ISN 1000 + 1 ✓",
            "states: initiator ESTABLISHED, responder ESTABLISHED",
        ],
    ]


@pytest.mark.parametrize(
    ("close", "wanted"),
    [
        (CLOSE, ["1/4", "2/4", "3/4", "4/4"]),
        (THREE, ["1/3", "2/3", "2/3", "3/3"]),
        (AT_ONCE, ["1/4", "2/4", "3/4", "4/4"]),
    ],
    ids=["four", "three", "simultaneous"],
)
def test_the_close(close: str, wanted: list[str]) -> None:
    """In four segments, in three of which the second has two roles, and from both ends at once."""
    lines = [line for frame in comments(HANDSHAKE + close)[3:] for line in frame]
    said = [line for line in lines if line.startswith("[")]
    assert re.findall(r"\[close (\d/\d)\]", "\n".join(said)) == wanted
    assert sum(" takes one number" in line for line in said) == 2
    assert {line.partition("] ")[2] for line in said if "] ack" in line} == {
        "ack 1002 = FIN 1001 + 1 ✓",
        "ack 5002 = FIN 5001 + 1 ✓",
    }


def test_a_fin_with_data() -> None:
    """Its ACK covers the data too."""
    said = comments(HANDSHAKE + "+0 > FP. 1:101(100) ack 1\n+0 < . 1:1(0) ack 102\n+0 < F. 1:1(0) ack 102")
    assert said[3][0] == "[close] FIN seq 1001 takes one number: its ACK is 1001 + 100 + 1 = 1102"
    assert said[4][0] == "[close] ack 1102 = FIN 1001 + 100 + 1 ✓"


@pytest.mark.parametrize(
    ("script", "frame", "wanted"),
    [
        (HANDSHAKE.replace("< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2"), 2, "ack 1002 ✗ it should be ISN 1000 + 1 = 1001"),
        (HANDSHAKE.replace("> .  1:1(0) ack 1", "> .  1:1(0) ack 7"), 3, "ack 5007 ✗ it should be ISN 5000 + 1 = 5001"),
        (HANDSHAKE.replace("> .  1:1(0) ack 1", "> .  3:3(0) ack 1"), 3, "seq 1003 ✗ it should be ISN 1000 + 1 = 1001"),
        (HANDSHAKE + CLOSE.replace("2:2(0) ack 2", "2:2(0) ack 4"), 7, "ack 5004 ✗ it should be FIN 5001 + 1 = 5002"),
        (HANDSHAKE + CLOSE.replace("< F. 1:1", "< F. 9:9"), 6, "FIN seq 5009 ✗ it should be end 5001"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 1", 5, "ack 1001 does not cover the FIN: 1002 would"),
        (HANDSHAKE + "+0 < R  90000:90000(0)", 4, "RST seq 95000 ✗ it is outside the window"),
        ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 5", 2, "RST ack 1005 ✗ it should be ISN 1000 + 1 = 1001"),
        (HANDSHAKE + "+0 > S 0:0(0)\n+0 > P. 1:9(8) ack 1", 4, "SYN again: seq 1000 = ISN 1000 ✓"),
    ],
)
def test_what_is_wrong_is_said_with_what_it_should_be(script: str, frame: int, wanted: str) -> None:
    """✗, and the right number."""
    lines = comments(script)[frame - 1]
    assert any(wanted in line for line in lines), lines


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (HANDSHAKE + "+0 > R. 1:1(0) ack 1", "seq 1001 = ack 1001 ✓"),
        (HANDSHAKE + "+0 > P. 1:9(8) ack 1\n+0 > R. 9:9(0) ack 1", "seq 1009 = as far as the initiator had sent ✓"),
        (HANDSHAKE + "+0 < R 99:99(0)", "seq 5099 is in the window that begins at ack 5001"),
        ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1", "ack 1001 = ISN 1000 + 1 ✓"),
    ],
)
def test_resets(script: str, wanted: str) -> None:
    """By what its receiver must take it."""
    assert comments(script)[-1][0] == f"[reset] RST {wanted}"


@settings(max_examples=150, deadline=None)
@given(talks, isn, isn)
@example([], 0, 0)
def test_nothing_is_wrong_with_a_legal_conversation(sent: list[Sent], first: int, second: int) -> None:
    """No ✗, wherever the ISNs are; and every SYN and FIN has a comment."""
    if not sent:
        return
    legal = conversation(sent, (first, second))
    found = frame_comments([legal])
    assert "✗" not in "".join(found.values())
    assert {one.frame for one in legal.rows_in_order if one.has_syn or one.has_fin} <= set(found)
    said = found[2].partition("\n")[0]
    wraps = " (mod 2³²)" if first + 1 == MODULUS else ""
    assert said == f"[handshake 2/3] ack {(first + 1) % MODULUS} = ISN {first} + 1{wraps} ✓"


def test_scenes_are_named_and_so_is_the_interface() -> None:
    """A run of many connections: each control segment's comment begins with its scene."""
    folder = ROOT / "tests/data/reproduced/teardown"
    evidence = evidence_of_run(folder)
    assert evidence.run is not None
    data = annotated((folder / "capture.pcap").read_bytes(), "x", evidence.conversations, None, evidence.run).data
    scenes = {text.partition(": [")[0] for (text,) in comments_of(data).values()}
    assert scenes == set(evidence.run.document["connections"])
    (description,) = (body for kind, body, _ in blocks_of(data) if kind == 1)
    named = dict(options_of(description[8:]))
    assert named == {2: b"ens33", 3: b"the lab link at the server host, 192.168.1.63", 9: b"\x09"}


def test_every_frame_that_a_check_speaks_of_has_a_comment() -> None:
    """And what does not hold is told at its frames, with the message; what speaks of none, of the file as a whole."""
    script = HANDSHAKE.replace("< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2") + CLOSE
    data = encode(frames_of(parse(script)))
    results, found = judged("handshake", data)
    marks = {"failed": "✗", "not-shown": "?"}
    wrong = {f"{marks[c.outcome]} {c.title}: {c.message}": c.frames for c in results.checks if c.outcome in marks}
    made = annotated(data, "x", found, results).data
    by_frame = {frame: "\n".join(texts).split("\n") for frame, texts in comments_of(made).items()}
    assert {frame for check in results.checks for frame in check.frames} <= set(by_frame)
    told = [line for line, frames in wrong.items() if frames]
    assert any(line.startswith("✗ A SYN occupies one sequence number") and wrong[line] == (1, 2) for line in told)
    assert [line for line in told if not all(line in by_frame[frame] for frame in wrong[line])] == []
    about = dict(options_of(blocks_of(made)[0][1][16:]))[1].decode().split("\n")
    assert about[0].startswith("handshake: failed: ")
    assert about[1:] == [line for line, frames in wrong.items() if not frames] != []


def test_a_comment_stays_short() -> None:
    """At most ten lines, whatever the checks say; how many more there are is told."""
    checks = [Check(f"check_{n}", f"Title {n}", 1, 0, "failed", (1, 2), "no") for n in range(30)]
    held = [Check(f"held_{n}", f"Held {n}", 1, 1, "passed", tuple(range(1, n + 2)), "") for n in range(30)]
    text = frame_comments([one(HANDSHAKE)], results_of(*checks, *held))
    assert all(text[frame].count("\n") + 1 == 10 for frame in (1, 2))
    *_, last = shown = [line for line in text[1].split("\n") if "Title" in line]
    assert text[1].split("\n")[-2] == f"… and {30 - len(shown)} more that do not hold"
    assert last == f"✗ Title {len(shown) - 1}: no"
    assert text[1].split("\n")[-1] == "✓ held_0, held_1, held_2, held_3 and 26 more"
    assert text[30] == "✓ held_29"


HOSTILE = "\x1b[31mred\x00\r\n[handshake 2/3] ack 1 = ISN 0 + 1 ✓\u202e\ud800" + "long " * 200


def test_hostile_texts_stay_one_line_of_text() -> None:
    """Whatever a student's answer has in it, and so a message: no escapes, no line that looks like ours."""
    check = Check("answer", HOSTILE, 1, 0, "failed", (2,), HOSTILE)
    results = results_of(check, check._replace(frames=()))
    data = encode(frames_of(parse(HANDSHAKE)))
    made = annotated(data, HOSTILE, conversations(read_capture(data, "x").segments), results).data
    lines = comments_of(made)[2][0].split("\n")
    assert len(lines) == 4
    assert lines[3].startswith("✗ ?[31mred")
    texts = [value.decode() for code, value in options_of(blocks_of(made)[0][1][16:]) if code == 1]
    texts += [value.decode() for code, value in options_of(blocks_of(made)[1][1][8:]) if code in (2, 3)]
    for line in [*lines, *"\n".join(texts).split("\n")]:
        assert line.isprintable(), line
        assert len(line) <= 400


@needs_tshark
def test_wireshark_shows_the_comments(tmp_path: Path) -> None:
    """As the README has it: tshark -Y frame.comment; and capinfos has nothing to complain of."""
    path = tmp_path / "annotated.pcapng"
    data = (ROOT / "tests/data/four-segment.pcap").read_bytes()
    results, found = judged("handshake", data)
    path.write_bytes(annotated(data, "four-segment.pcap", found, results).data)
    fields = ["-T", "fields", "-e", "frame.number", "-e", "frame.comment"]
    shown = subprocess.run(
        ["tshark", "-r", path, "-Y", "frame.comment", *fields], check=True, capture_output=True, text=True
    )
    by_frame = dict(line.split("\t") for line in shown.stdout.splitlines())
    syn_ack = re.compile(r"\[handshake 2/3\] ack (\d+) = ISN (\d+) \+ 1 ✓")
    ack, first = map(int, next(filter(None, map(syn_ack.match, by_frame.values()))).groups())
    assert ack == first + 1 == found[0].syn.seq.value + 1
    wanted = {frame: text.replace("\n", r"\n") for frame, text in frame_comments(found, results).items()}
    assert {int(frame): text for frame, text in by_frame.items()} == wanted
    info = subprocess.run(["capinfos", path], check=True, capture_output=True, text=True)
    assert re.search(r"Capture application: +tcp-lab", info.stdout)
    assert re.search(r"Description = not recorded in four-segment.pcap", info.stdout)
    assert "Strict time order:   True" in info.stdout
    said = [line for line in (shown.stderr + info.stderr).splitlines() if "Running as user" not in line]
    assert said == []


# The command


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A good capture, in a folder of its own."""
    return Path(shutil.copy(ROOT / "tests/data/four-segment.pcap", tmp_path / "capture.pcap"))


def test_the_command(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Writes the file, and leaves the capture alone; with answers, their checks are told of."""
    before, out = good.read_bytes(), good.with_name("out.pcapng")
    assert annotate("handshake", good, None, out) == 0
    assert capsys.readouterr().out.startswith(f"{out}: the {len(packets_of_pcap(before))} frames of {good}, ")
    results, found = judged("handshake", before)
    assert out.read_bytes() == annotated(before, str(good), found, results).data
    answers = good.with_name("answers.yaml")
    answers.write_text("close: 'three'\n")
    assert annotate("handshake", good, answers, out) == 0
    assert b"not answered: answers.yaml has no" in out.read_bytes()
    assert annotate(NO_LAB, good, None, out) == 0
    assert "✓ " not in re.sub(r"\+ 1 ✓", "", "".join(text for (text,) in comments_of(out.read_bytes()).values()))
    assert good.read_bytes() == before


def test_a_damaged_capture_is_told_of(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands before the damage is written, with the segments' roles; nothing is judged; exit status 2."""
    good.write_bytes(good.read_bytes()[:-3])
    out = good.with_name("out.pcapng")
    assert annotate("handshake", good, None, out) == 2
    assert "is cut off" in capsys.readouterr().err
    again = read_capture(out.read_bytes(), "x")
    assert again.frames == read_capture(good.read_bytes(), "x").frames
    assert comments_of(out.read_bytes())[1][0].startswith("[handshake 1/3]")


def test_a_capture_without_tcp_is_told_of(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its frames are written, without comments."""
    frame = bytes(12) + b"\x08\x06" + bytes(46)
    good.write_bytes(encode([]) + struct.pack("<IIII", 1, 2, len(frame), len(frame)) + frame)
    out = good.with_name("out.pcapng")
    assert annotate("handshake", good, None, out) == 2
    assert "no TCP segment in its 1 frames" in capsys.readouterr().err
    assert packets_of_pcapng(out.read_bytes()) == packets_of_pcap(good.read_bytes())
    assert comments_of(out.read_bytes()) == {}


def test_what_cannot_be_annotated(good: Path) -> None:
    """A text, the capture as the place to write to, a lab or answers that there are not: one line, and nothing lost."""
    before, out = good.read_bytes(), good.with_name("out.pcapng")
    link = good.with_name("link.pcapng")
    link.hardlink_to(good)
    listing = ROOT / "tests/data/article-handshake.txt"
    for lab, capture, answers, place, why in [
        ("handshake", listing, None, out, "holds no frames to be annotated"),
        ("handshake", good, None, link, "is the capture itself"),
        ("handshake", good.with_name("none"), None, out, "No such file"),
        ("juggling", good, None, out, "no lab 'juggling'"),
        ("handshake", good, good.with_name("none"), out, "cannot read the answers"),
    ]:
        with pytest.raises(HarnessError, match=why) as error:
            annotate(lab, capture, answers, place)
        assert "\n" not in str(error.value)
    assert good.read_bytes() == before
    assert not out.exists()
