"""Every input that once broke a reader, read by all of them again; and the fuzzer's own beginnings."""

import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from harness.captures.capture import Capture
from harness.captures.pcap import read_pcap
from harness.captures.reading import read_capture
from harness.errors import HarnessError
from harness.tcp.conversation import conversations
from harness.tcp.segments import from_rows
from tests.fuzz.fuzz_readers import ROOT, regressions
from tests.fuzz.fuzz_readers import TARGETS as NAMES
from tests.fuzz.invariants import TARGETS
from tests.fuzz.mutation import MOST, mutated
from tests.fuzz.seeds import seeds

SEEDS = seeds()
INPUTS = [(kind, name) for kind, of_kind in SEEDS.items() for name in of_kind]
SMALL = [(kind, name) for kind, name in INPUTS if len(SEEDS[kind][name]) < 2000]


def test_what_once_broke() -> None:
    """The files in tests/data/fuzz: whatever they are, they are read or refused."""
    for path in regressions():
        for name, check in TARGETS.items():
            try:
                check(path.read_bytes())
            except Exception as error:
                raise AssertionError(f"{path.name} breaks {name}: {error!r}") from error


@pytest.mark.parametrize(("kind", "name"), INPUTS)
def test_seeds_are_captures_with_conversations(kind: str, name: str) -> None:
    """The fuzzer begins with what is read as a whole, and all holds of it."""
    data = SEEDS[kind][name]
    if name != "empty":
        capture = read_capture(data, name)
        assert conversations(capture.segments)
        assert (capture.damage is None) == (name != "cut"), capture.damage
    for check in TARGETS.values():
        check(data)


@pytest.mark.parametrize(("kind", "name"), SMALL)
def test_changed_captures(kind: str, name: str) -> None:
    """A little of what the fuzzer does, without atheris: frames, blocks and lines dropped, repeated, moved, changed."""
    random = Random(f"{kind} {name}")  # noqa: S311

    def flip(data: bytes, most: int) -> bytes:
        at = random.randrange(len(data) + 1)
        return (data[:at] + random.randbytes(1) + data[at + 1 :])[:most]

    for _ in range(10):
        data = SEEDS[kind][name]
        for _ in range(4):
            data = mutated(data, MOST, random.randrange(1 << 30), flip)
        for check in TARGETS.values():
            check(data)


def test_every_target_is_fuzzed() -> None:
    """The two lists agree: one is of names only, since importing the other imports what is to be instrumented."""
    assert list(NAMES) == list(TARGETS)


def one_too_many(data: bytes, name: str) -> Capture:
    return replace(read_pcap(data, name), frames=1)


def never_negative(data: bytes, name: str) -> Capture:
    capture = read_pcap(data, name)
    return replace(capture, segments=replace(capture.segments, length=capture.segments.length - 1))


def forgets_on_damage(data: bytes, name: str) -> Capture:
    capture = read_pcap(data, name)
    return replace(capture, frames=0, other_frames=0, segments=from_rows([])) if not capture.damage else capture


def unpacks(data: bytes, _name: str) -> Capture:
    raise struct.error(data)


def speaks_at_length(data: bytes, name: str) -> Capture:
    raise HarnessError(f"{name}\n{data!r}")


@pytest.mark.parametrize("broken", [one_too_many, never_negative, forgets_on_damage, unpacks, speaks_at_length])
def test_a_broken_reader_is_found(broken: Callable[[bytes, str], Capture], monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariants are able to fail."""
    monkeypatch.setattr("tests.fuzz.invariants.read_pcap", broken)
    with pytest.raises((AssertionError, struct.error)):
        TARGETS["pcap"](SEEDS["pcap"]["four"])


def test_a_conversation_that_loses_a_segment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each belongs to one."""
    monkeypatch.setattr("tests.fuzz.invariants.conversations", lambda segments: conversations(segments)[1:])
    with pytest.raises(AssertionError):
        TARGETS["conversations"](SEEDS["pcap"]["two conversations"])


def test_without_atheris_one_line_says_what_to_install() -> None:
    """Exit status 2."""
    script = "import sys; sys.modules['atheris'] = None; from tests.fuzz.fuzz_readers import main; sys.exit(main([]))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install" in done.stderr
    assert len(done.stderr.splitlines()) == 1
