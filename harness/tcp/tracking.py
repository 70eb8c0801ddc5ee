"""Follow the conversations of a capture, piece after piece."""

from dataclasses import dataclass, field

from harness.tcp.arithmetic import Numbers, numbers
from harness.tcp.control import Control, control
from harness.tcp.known import Ends
from harness.tcp.segments import Segments
from harness.tcp.splitting import Batch, Splitter
from harness.tcp.zeek import Letters, letters


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A piece of a capture, worked out.

    Attributes:
        batch: its segments, sorted by conversation; g groups.
        numbers: their arithmetic.
        control: its control segments.
        ends: shape (g, 2): what is known of each group's ends after it (harness.tcp.known).
    """

    batch: Batch
    numbers: Numbers
    control: Control
    ends: Ends


@dataclass(slots=True)
class Tracker:
    """Follows the conversations.

    Attributes:
        splitter: sorts the segments, and keeps what is known of each conversation.
        letters: the letters of all histories so far.
    """

    splitter: Splitter = field(default_factory=Splitter)
    letters: list[Letters] = field(default_factory=list)

    def take(self, segments: Segments) -> Piece:
        """Work out the next piece; it holds at least one segment."""
        batch = self.splitter.split(segments)
        ends_of_all = self.splitter.known.ends
        before = ends_of_all[batch.conversation]
        ends = before.copy()
        worked_out = numbers(segments, batch, ends)
        script = control(segments, batch, worked_out, before, ends)
        self.letters.append(letters(segments, batch, worked_out, script, before, ends))
        # A conversation has one group in a piece, or several where nothing follows the first.
        ends_of_all[batch.conversation] = ends
        return Piece(batch, worked_out, script, ends)
