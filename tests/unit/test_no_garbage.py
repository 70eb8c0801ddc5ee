"""What a grading makes of a submission is freed at once: nothing is left to the garbage collector."""

import gc
import weakref
from pathlib import Path

from harness.captures.reading import load_capture, read_many
from harness.errors import HarnessError
from harness.tcp.conversation import conversations

FOUR = Path(__file__).resolve().parents[1] / "data" / "four-segment.pcap"


def test_a_conversation_that_forgets_its_segments_is_freed_at_once() -> None:
    """And makes them again for who asks."""
    (conversation,) = conversations(load_capture(FOUR).segments)
    view = conversation.fresh_view()
    assert view.initiator_stream.fin_ack.frame == conversation.initiator_stream.fin_ack.frame
    conversation.forget_segments()
    assert len(conversation.rows_in_order) == len(view.rows_in_order)
    conversation.forget_segments()
    gc.disable()
    try:
        gone = weakref.ref(conversation)
        del conversation, view
        assert gone() is None
    finally:
        gc.enable()


def test_an_error_that_is_kept_keeps_no_frames() -> None:
    found = read_many([("empty.pcap", b""), ("none.pcap", b"\xd4\xc3\xb2\xa1")])
    assert [isinstance(one, HarnessError) for one in found] == [True, True]
    for one in found:
        assert isinstance(one, HarnessError)
        assert one.__traceback__ is None
        assert one.__context__ is None or one.__context__.__traceback__ is None
