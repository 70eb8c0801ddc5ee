"""What harness.grading.editing promises: signs of editing, and none in honest captures."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.captures.capture import Capture
from harness.captures.checksums import checksums
from harness.captures.reading import read_capture, read_many
from harness.grading.editing import MOST_FRAMES, signs
from harness.grading.graded import Flag
from harness.tcp.conversation import conversations
from harness.tcp.flags import ACK
from tests.pcaps import Frame, _checksum, encode
from tests.unit.copying import (
    DATA,
    FOUR,
    THREE,
    Change,
    capture_of,
    every_other,
    good,
    honest,
    in_turn,
    listing,
    numbers_shifted,
    of_frames,
    readdressed,
    retimed,
    to_pcapng,
    without_timestamps,
)

SECOND, MILLISECOND = 10**9, 10**6
# The captures of tests/live/record_named_captures.py that lack a frame on purpose.
LACKING = {"ack_lost_segment": ["ack-of-unsent"], "lost_segment": ["frames-missing"]}
HONEST = [FOUR, THREE, *sorted((DATA / "named").glob("*.pcap")), *sorted(DATA.glob("article-*.txt"))]


def flags_of(data: bytes) -> list[Flag]:
    """Of all connections of a file."""
    capture = read_capture(data, "x")
    return [flag for one in conversations(capture.segments) for flag in signs(capture, one, data)]


def of(frames: list[Frame], *, snaplen: int = 262144) -> list[Flag]:
    found = flags_of(encode(frames, snaplen=snaplen))
    assert all(flag.message.isprintable() and len(flag.frames) <= MOST_FRAMES for flag in found)
    return found


def kinds(flags: list[Flag]) -> list[str]:
    return [flag.kind for flag in flags]


@pytest.mark.parametrize("path", HONEST, ids=lambda path: path.stem)
def test_no_sign_in_an_honest_capture(path: Path) -> None:
    assert kinds(flags_of(path.read_bytes())) == LACKING.get(path.stem, [])


def test_no_sign_in_an_honest_listing_or_another_format() -> None:
    for switches in ([], ["-S"], ["-t"], ["-v"], ["-vv", "-S"], ["-tt", "-e"], ["-ttt"], ["-q", "-X"]):
        data = listing(good(), *switches)
        assert "-q" in switches or flags_of(data) == []
    assert flags_of(to_pcapng(good())) == []
    assert flags_of(gzip.compress(FOUR.read_bytes())) == []
    assert flags_of(gzip.compress(encode([changed(good()[0], checksum=1), *good()[1:]]))) != []


def test_no_sign_in_honest_students() -> None:
    """Their hosts' clocks count milliseconds, and their segments are late by chance."""
    capture = capture_of(good())
    for one in honest(200, seed=9):
        found = [flag for flag in signs(capture, one) if flag.kind != "same-isn"]
        assert found == []


def test_no_sign_in_a_copy_that_was_made_well() -> None:
    """Other addresses, ISNs and checksums leave no trace; comparing does (harness.grading.copies)."""
    assert of(in_turn(readdressed(), numbers_shifted(), retimed(SECOND))(good())) == []


# -- checksums -------------------------------------------------------------------------------------------------------


def changed(frame: Frame, **change: object) -> Frame:
    """With the checksum that it had."""
    return replace(frame, **({"checksum": frame.stored_checksum()} | change))  # type: ignore[arg-type]


def partial(frame: Frame, *, with_length: bool = True) -> int:
    """What Linux leaves in the field for the network card: the folded sum of the pseudo-header."""
    length = 20 + len(frame.options) + len(frame.payload)
    pseudo = (frame.src << 64 | frame.dst << 32 | 6 << 16).to_bytes(12) + (length * with_length).to_bytes(2)
    return ~_checksum(pseudo) & 0xFFFF


def offloaded(frames: list[Frame]) -> list[Frame]:
    return [replace(frame, checksum=partial(frame)) for frame in frames]


@pytest.mark.parametrize("at", [0, 4, 7, 15])
def test_a_wrong_checksum(at: int) -> None:
    """Whatever the length: odd, even, 0."""
    frames = good()
    frames[at] = changed(frames[at], window=frames[at].window + 1)
    assert of(frames) == [Flag("bad-checksum", "the TCP checksum is wrong in 1 of 69 frames", (at + 1,))]
    assert of(in_turn(lambda _: frames)(frames), snaplen=60) == []


def test_other_addresses_with_the_old_checksums() -> None:
    """In all frames, whether they had right checksums or were left to the network card."""
    pairs = zip(readdressed()(good()), good(), strict=True)
    frames = [replace(frame, checksum=old.stored_checksum()) for frame, old in pairs]
    (flag,) = of(frames)
    assert (flag.kind, flag.message) == ("bad-checksum", "the TCP checksum is wrong in 69 of 69 frames")
    assert flag.frames == tuple(range(1, MOST_FRAMES + 1))
    old = offloaded(good())
    frames = [replace(frame, checksum=was.checksum) for frame, was in zip(readdressed()(old), old, strict=True)]
    assert kinds(of(frames)) == ["bad-checksum"]


def test_checksums_left_to_the_network_card() -> None:
    """By both ends, as on a veth pair; by one; in any way; or made by it."""
    ours = good()[0].sport
    assert of(offloaded(good())) == []
    assert of([replace(frame, checksum=partial(frame, with_length=False)) for frame in good()]) == []
    assert of([replace(frame, checksum=0) for frame in good()]) == []
    assert of([replace(frame, checksum=7) if frame.sport == ours else frame for frame in good()]) == []
    segments_put_together = [
        changed(frame, payload=frame.payload + bytes(1461 - len(frame.payload))) if at == 68 else frame
        for at, frame in enumerate(good())
    ]
    assert "bad-checksum" not in kinds(of(segments_put_together))


def test_a_wrong_checksum_of_the_ip_header() -> None:
    """But 0 is left to the network card."""
    data = bytearray(FOUR.read_bytes())
    data[24 + 16 + 14 + 8] ^= 1  # the time to live of frame 1
    assert flags_of(bytes(data)) == [
        Flag("bad-checksum", "the IPv4 header's checksum is wrong in 1 frame", (1,)),
    ]
    data[24 + 16 + 14 + 10 : 24 + 16 + 14 + 12] = b"\0\0"
    assert flags_of(bytes(data)) == []


def test_checksums_are_checked_however_a_capture_is_read() -> None:
    """A pcapng file, and one of many that are read together."""
    bad = [changed(good()[0], checksum=1), *good()[1:]]
    wanted = flags_of(encode(bad))
    assert kinds(wanted) == ["bad-checksum"]
    assert flags_of(to_pcapng(bad)) == wanted
    for capture in read_many([("a", encode(bad)), ("b", encode(bad))]):
        assert isinstance(capture, Capture)
        assert list(signs(capture, of_frames(bad))) == wanted


def test_what_is_not_checked() -> None:
    """No frames, frames that are not there, those behind the first 4 MiB, a text."""
    data, capture = FOUR.read_bytes(), capture_of(good())
    bad = [changed(frame, window=1) for frame in good()]
    assert kinds(list(signs(capture_of(bad), of_frames(bad)))) == ["bad-checksum"]
    assert signs(replace(capture_of(bad), found=None), of_frames(bad)) == ()
    whole = read_capture(data, "x").found
    assert whole is not None
    far = replace(whole, start=whole.start + (4 << 20))
    for of_frames_, frames in ((whole, []), (whole, [70, 999]), (far, [1])):
        found = checksums(of_frames_, np.array(frames, np.int64))
        assert (len(found.checked), len(found.wrong_tcp), len(found.wrong_ip)) == (0, 0, 0)
    assert len(checksums(whole, capture.segments.frame).checked) == 69


# -- times -----------------------------------------------------------------------------------------------------------


def moved(at: int, by: int) -> Change:
    return lambda frames: [replace(f, time=f.time + by) if place == at else f for place, f in enumerate(frames)]


def test_time_that_goes_back() -> None:
    frames = moved(30, -2 * SECOND)(good())
    back = next(flag for flag in of(frames) if flag.kind == "time-back")
    assert back.message == "the time of capture goes back 1 time, by up to 2.000 s"
    assert back.frames == (31,)
    often = in_turn(*(moved(at, -40 * MILLISECOND) for at in (30, 40, 50)))
    assert [flag.frames for flag in of(often(good())) if flag.kind == "time-back"] == [(31, 41, 51)]


def test_jitter_is_no_sign() -> None:
    """A little often, and more once."""
    assert of(in_turn(*(moved(at, -200_000) for at in (30, 40, 50, 60)))(good())) == []
    assert of(moved(30, -40 * MILLISECOND)(good())) == []


@pytest.mark.parametrize("stretch", [0.4, 1.6, 7.0, 30.0])
def test_times_that_were_stretched(stretch: float) -> None:
    (flag,) = of(retimed(0, stretch)(good()))
    assert flag.kind == "timestamps-disagree"
    assert "the initiator's timestamps count 184 in" in flag.message
    assert "the responder's timestamps count 184 in" in flag.message


def test_times_that_were_changed_from_a_frame_on() -> None:
    """The frame is named."""
    frames = [replace(frame, time=frame.time + (at >= 30) * SECOND) for at, frame in enumerate(good())]
    (flag,) = of(frames)
    assert flag.kind == "timestamps-disagree"
    assert {30, 31} & set(flag.frames)
    assert of(without_timestamps(frames)) == []


@pytest.mark.parametrize("rate", [1, 10, 100, 250, 1000, 1_000_000])
def test_all_clocks_of_kernels(rate: int) -> None:
    """Whatever they count, and how late the other end's segments are."""
    first = good()[0].time
    frames = []
    for frame in good():
        since = (frame.time - first) * 100  # 18 s
        stamp = (2**32 - 50 + since * rate // SECOND) % 2**32
        options = b"\x01\x01\x08\x0a" + stamp.to_bytes(4) + bytes(4)
        late = frame.seq % 300 * MILLISECOND if frame.sport == 22 else 0
        frames.append(replace(frame, time=first + since + late, options=options))
    assert "timestamps-disagree" not in kinds(of(sorted(frames, key=lambda frame: frame.time)))


def test_odd_times() -> None:
    begun = good()[0].time
    apart = [replace(frame, time=begun + at * 1234_000) for at, frame in enumerate(without_timestamps(good()))]
    assert of(apart) == [Flag("odd-times", "all 69 frames are 0.001234 s apart", (1, 2))]
    whole = [replace(frame, time=frame.time // MILLISECOND * MILLISECOND) for frame in good()]
    assert [(flag.kind, flag.message) for flag in of(whole)] == [
        ("odd-times", "all 69 frames are whole milliseconds apart")
    ]
    assert kinds(of([replace(frame, time=begun) for frame in without_timestamps(good())])) == ["odd-times"]
    assert of([replace(frame, time=0) for frame in without_timestamps(good())]) == []  # none are told


# -- numbers ---------------------------------------------------------------------------------------------------------


def with_isns(initiator: int, responder: int) -> list[Frame]:
    base = of_frames(good()).numbers.base
    return numbers_shifted(initiator - base[0], responder - base[1])(good())


@pytest.mark.parametrize(
    ("isns", "message"),
    [
        ((123_456_789, 123_456_789), "both ends begin with the same sequence number, 123456789"),
        ((0, 123_456_789), "the initiator begins with sequence number 0, which no kernel would draw"),
        ((123_456_789, 1000), "the responder begins with sequence number 1000, which no kernel would draw"),
        ((5_000_000, 123_456_789), "the initiator begins with sequence number 5000000, which no kernel would draw"),
    ],
)
def test_isns_chosen_by_hand(isns: tuple[int, int], message: str) -> None:
    assert of(with_isns(*isns)) == [Flag("same-isn", message)]


def test_frames_taken_out() -> None:
    """That were acknowledged; what nobody acknowledged may have been lost on the way."""
    frames = good()
    (flag,) = of([*frames[:13], *frames[14:]])
    assert flag == Flag(
        "frames-missing",
        "1,208 bytes of the initiator's, acknowledged, are in no frame: tcpdump lost them, or they were taken out",
        (16,),
    )
    assert kinds(of(every_other(frames))) == ["frames-missing", "frames-missing"]
    assert of(frames[5:40]) == []
    not_acknowledged = replace(frames[13], seq=frames[13].seq + 2000, time=frames[13].time + 1000)
    assert of([*frames[:13], not_acknowledged]) == []


def test_an_ack_of_what_was_not_sent() -> None:
    frames = good()
    frames[20] = replace(frames[20], ack=frames[20].ack + 100_000)
    assert of(frames) == [
        Flag(
            "ack-of-unsent",
            "99,051 bytes more are acknowledged than the capture shows the initiator to send",
            (21,),
        )
    ]
    forged = replace(frames[0], seq=frames[0].seq + 200_000, time=frames[17].time + 1000)
    assert kinds(of([*frames[:18], forged, *frames[18:]])) == ["ack-of-unsent"]
    assert of(frames[3:]) == []  # without the SYN, the beginning may be missing as well


# -- listings --------------------------------------------------------------------------------------------------------


def test_a_listing_that_was_edited() -> None:
    """The line is named, in which numbers do not go together."""
    lines = listing(good(), "-S").splitlines(keepends=True)
    for old, new in ((b"length 41", b"length 42"), (b"win 63", b"win 66000"), (b"length 41", b"length -1")):
        data = b"".join([*lines[:3], lines[3].replace(old, new), *lines[4:]])
        found = [flag.message for flag in flags_of(data) if flag.kind == "impossible-listing"]
        assert found == ["line 4: numbers that tcpdump does not print so"]


def test_an_old_listing_that_was_edited() -> None:
    line = b"17:23:09.889821 IP 10.0.0.1.53198 > 10.0.0.2.22: P %d:%d(%d) ack 5000 win 229\n"
    assert flags_of(line % (400_000_000, 400_000_021, 21)) == []
    assert kinds(flags_of(line % (400_000_000, 400_000_021, 21) + line % (400_000_021, 400_000_025, 5))) == [
        "impossible-listing"
    ]


def test_a_listing_with_a_port_that_no_kernel_chooses() -> None:
    listed = listing(readdressed(port=500)(good()))
    assert flags_of(listed) == [
        Flag("impossible-listing", "the initiator's port is 500: no kernel chooses one below 1024")
    ]
    assert flags_of(b"".join(listed.splitlines(keepends=True)[3:])) == []  # who the initiator is, is not shown


def test_a_listing_whose_syn_is_not_acknowledged() -> None:
    lines = listing(good(), "-S").splitlines(keepends=True)
    data = b"".join(lines).replace(b"ack 798299181,", b"ack 798299180,", 1)
    found = [flag for flag in flags_of(data) if flag.kind == "impossible-listing"]
    assert found == [Flag("impossible-listing", "the SYN-ACK acknowledges the SYN's sequence number +0, not + 1", (2,))]


def test_signs_of_few_segments() -> None:
    """Any beginning of a capture is judged, and none is suspicious."""
    for count in range(1, 12):
        assert of(good()[:count]) == []
    assert good()[0].flags & ACK == 0
