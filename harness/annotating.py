"""`./invoke annotate`: any capture's frames with comments, as a pcapng file for Wireshark."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import NOT_JUDGED, complain, say
from harness.errors import HarnessError
from harness.language import _
from harness.messages import translated

if TYPE_CHECKING:
    from harness.grading.results import Results
    from harness.tcp.conversation import Conversation

NO_LAB = "none"
TEXT = "tcpdump text"


def annotate(lab: str, capture: Path, answers: Path | None, out: Path) -> int:
    """Write a capture's frames with comments on the control segments and from a lab's checks; returns the exit status.

    Of a damaged capture what stands before the damage is written, but nothing is judged.

    Args:
        lab: the lab whose rubric judges, or `NO_LAB`.
        capture: the capture file: pcap, pcapng, or gzip of either.
        answers: the student's answers.yaml, if there is one.
        out: the file to write.

    Raises:
        HarnessError: there is no such lab or file, it is no capture, tcpdump's text, or *out* is the capture itself.
    """
    from harness.captures.reading import no_tcp, read_file
    from harness.grading.judging import rubric_folder
    from harness.reports.annotated import annotated
    from harness.runs import write_private
    from harness.tcp.conversation import conversations

    if lab != NO_LAB:
        rubric_folder(lab)
    if out.exists() and capture.exists() and out.samefile(capture):
        raise HarnessError(f"--out {out}: is the capture itself, which is the evidence; name another file")
    read = read_file(capture)
    if read.format == TEXT:
        raise HarnessError(
            f"{capture}: tcpdump's text holds no frames to be annotated; give the capture it was made of"
        )
    damage = read.damage or (None if len(read.segments) else no_tcp(str(capture), read).partition(": ")[2])
    found = conversations(read.segments)
    results = None if lab == NO_LAB or damage else _judged(lab, capture, found, answers)
    made = annotated(capture.read_bytes(), str(capture), found, results)
    write_private(out, made.data)
    words = _("{out}: the {count} frames of {capture}, with comments; Wireshark shows them (filter: frame.comment)")
    say(words.format(out=out, count=made.frames, capture=capture))
    if damage:
        words = _("{capture}: {damage}; the frames that could be read were written, nothing was judged")
        complain(words.format(capture=capture, damage=translated(damage)))
        return NOT_JUDGED
    return 0


def _judged(lab: str, path: Path, found: "list[Conversation]", answers: Path | None) -> "Results":
    from harness.evidence import Evidence, lab_conversation
    from harness.grading.judging import judge
    from harness.intake.answers import read_answers_file

    evidence = Evidence(lab_conversation(found, str(path)), conversations=tuple(found))
    if answers is not None:
        evidence = replace(evidence, answers=read_answers_file(answers))
    return judge(lab, evidence)
