"""What is judged: the lab's conversation of a capture, with what a live run recorded beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.answers import Scalar
from harness.captures.reading import load_capture
from harness.errors import HarnessError
from harness.runs import CAPTURE, CLIENT_CAPTURE, RunRecord, read_run
from harness.tcp.conversation import Conversation, conversations

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rubric judges.

    Attributes:
        conversation: the lab's conversation of the capture.
        run: what a live run recorded beside it; None for a capture from elsewhere.
        answers: what the student answered to the lab's questions; None where nobody was asked.
        conversations: all of the capture.
    """

    conversation: Conversation
    run: RunRecord | None = None
    answers: Mapping[str, Scalar] | None = None
    conversations: tuple[Conversation, ...] = ()


def lab_conversation(found: list[Conversation], name: str, run: RunRecord | None = None) -> Conversation:
    """Which of a capture's conversations is the lab's.

    With a run, the one whose 4-tuple ssh told of. Without, the first to port 22 that shows its SYN; else the first to
    port 22; else the first.

    Raises:
        HarnessError: the run's connection is not in the capture.
    """
    if run is not None:
        for conversation in found:
            if {conversation.initiator, conversation.responder} == {run.initiator, run.responder}:
                return conversation
        raise HarnessError(f"{name}: the lab's connection {run.initiator} → {run.responder} is not in the capture")

    def rank(conversation: Conversation) -> tuple[bool, bool]:
        return conversation.rows.responder[1] != SSH_PORT, conversation.open == "not-shown"

    return min(found, key=rank)  # the first of the best


def evidence_of_capture(path: Path) -> Evidence:
    """A capture file as evidence.

    Raises:
        HarnessError: it is not a whole capture that holds TCP.
    """
    found = conversations(load_capture(path).segments)
    return Evidence(lab_conversation(found, str(path)), conversations=tuple(found))


def evidence_of_run(folder: Path) -> Evidence:
    """A run folder as evidence.

    Raises:
        HarnessError: it is not a run folder, or its capture is not whole.
    """
    run = read_run(folder)
    path = folder / CAPTURE
    found = conversations(load_capture(path).segments)
    return Evidence(lab_conversation(found, str(path), run), run, conversations=tuple(found))


def seen_by_client(folder: Path, run: RunRecord | None) -> Conversation | None:
    """The lab's conversation as the client host captured it; None if that host did not capture.

    Raises:
        HarnessError: that capture is not whole, or does not hold it.
    """
    if run is None or "client_capture" not in run.document:
        return None
    path = folder / CLIENT_CAPTURE
    return lab_conversation(conversations(load_capture(path).segments), str(path), run)
