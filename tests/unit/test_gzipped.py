"""What harness.captures promises of gzip: all that stands before any damage, within a limit of memory."""

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures.gzipped import gunzip, is_gzip
from harness.errors import HarnessError

LIMIT = 1 << 24
MIXED = random.Random(1).randbytes(200_000) + bytes(3 << 20) + bytes(range(256)) * 500  # noqa: S311


def damaged(count: int) -> str:
    """The text of the damage."""
    return f"the gzip stream is damaged after {count} bytes of output"


def test_the_magic_number() -> None:
    """RFC 1952 §2.3.1."""
    assert is_gzip(gzip.compress(b""))
    assert not is_gzip(b"\x1f")
    assert not is_gzip(b"\xd4\xc3\xb2\xa1")


@pytest.mark.parametrize("content", [b"", b"x", bytes(1 << 20), bytes((1 << 20) + 1), MIXED])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_whole_file(content: bytes, level: int) -> None:
    """Short and long, compressed well and not at all."""
    assert gunzip(gzip.compress(content, level), "x", LIMIT) == (content, None)


def test_members_one_after_another() -> None:
    """Many, some empty, and padded with zeros."""
    parts = [b"one", b"", MIXED, b"", *[b"tiny"] * 1000]
    data = b"".join(gzip.compress(part) + bytes(at % 3) for at, part in enumerate(parts))
    assert gunzip(data, "x", LIMIT) == (b"".join(parts), None)


def test_every_truncation_point() -> None:
    """What can be read is a beginning of the content, growing with the cut."""
    content = random.Random(2).randbytes(300)  # noqa: S311
    data = gzip.compress(content)
    before = 0
    for cut in range(2, len(data)):
        found, damage = gunzip(data[:cut], "x", LIMIT)
        assert content.startswith(found)
        assert len(found) >= before
        assert damage == damaged(len(found))
        before = len(found)
    assert before == len(content)


def test_a_cut_inside_a_later_member() -> None:
    """The earlier ones are read whole."""
    data = gzip.compress(b"one") + gzip.compress(b"two")
    assert gunzip(data[:-9], "x", LIMIT)[0].startswith(b"one")
    assert gunzip(data[:-8], "x", LIMIT) == (b"onetwo", damaged(6))


def test_bytes_that_are_no_member() -> None:
    """Trailing garbage is damage."""
    assert gunzip(gzip.compress(b"one") + b"garbage", "x", LIMIT) == (b"one", damaged(3))


def test_a_wrong_checksum() -> None:
    """All of the content is there, and is said to be damaged."""
    data = bytearray(gzip.compress(MIXED))
    data[-5] ^= 1
    assert gunzip(bytes(data), "x", LIMIT) == (MIXED, damaged(len(MIXED)))


def test_damage_inside_a_piece_keeps_what_is_before_it() -> None:
    """Zlib gives nothing of the call that fails: those bytes are read again, one by one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = random.Random(3).randbytes(50_000)  # noqa: S311
    data = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07" + bytes(100)  # 7: a reserved block type
    assert gunzip(data, "x", LIMIT) == (content, damaged(len(content)))


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("limit", [0, 100, 1 << 20, 3_000_000])
@pytest.mark.parametrize("members", [1, 2])
def test_the_limit_is_exact(over: int, limit: int, members: int) -> None:
    """So many bytes are read; one more is an error, in whichever member it stands."""
    first = (limit + over) * (members - 1) // 2
    data = gzip.compress(bytes(first)) + gzip.compress(bytes(limit + over - first))
    if not over:
        assert gunzip(data, "x", limit) == (bytes(limit), None)
        return
    with pytest.raises(HarnessError) as caught:
        gunzip(data, "x.pcap.gz", limit)
    assert str(caught.value) == f"x.pcap.gz: larger than {limit} bytes when decompressed"


def test_a_bomb_is_bounded_in_memory() -> None:
    """32 MiB out of 32 KiB are refused at 1 MiB, though they come late, when the pieces are large."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = packer.compress(random.Random(4).randbytes(200_000))  # noqa: S311
    data += b"".join(packer.compress(bytes(1 << 20)) for _ in range(32)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(HarnessError):
            gunzip(data, "x", 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4), cut=st.integers(0, 500))
def test_a_good_file_with_some_bytes_changed(changes: list[tuple[int, int]], cut: int) -> None:
    """Any few bytes may be wrong: no exception but HarnessError, and the text counts what was read."""
    data = bytearray(gzip.compress(b"hello " * 20) + gzip.compress(bytes(range(200))))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        found, damage = gunzip(bytes(data[: cut or None]), "x", 1000)
    except HarnessError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert damage in (None, damaged(len(found)))
    assert len(found) <= 1000
