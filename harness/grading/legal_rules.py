"""Legal TCP: which mutants of a good capture are no errors.

A *rule* says so, whatever made the mutant: it looks at what differs from the good capture. It is a declaration: who
writes it says that no point may be lost there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from harness.grading.mutants import Good, Mutant, Row, banner_rows
from harness.tcp.conversation import ENDS
from harness.tcp.flags import ACK, ADVISORY, RST, SYN, URG
from harness.tcp.segments import ABSENT
from harness.tcp.values import signed_difference

_NO_CHANGE = frozenset({"time", "frame"})


@dataclass(frozen=True, slots=True)
class Difference:
    """What a mutant's connection has other than the good one's.

    A segment between other ends, or from a SYN on that comes when all is over, belongs to another connection: it counts
    as missing where it was, and as nothing where it is.

    Attributes:
        good: the good capture.
        family: the mutant's.
        kept: the good rows that are still there, changed or not, in their new order.
        removed: the good rows (by origin) that are missing.
        added: the rows that are more than there were.
        changed: which columns changed, by origin; "payload" and "blocks" too.
    """

    good: Good
    family: str
    kept: tuple[Row, ...]
    removed: tuple[int, ...]
    added: tuple[Row, ...]
    changed: dict[int, frozenset[str]]

    @property
    def is_none(self) -> bool:
        """Whether the connection is what it was."""
        return not (self.removed or self.added or self.changed or self.reordered)

    @property
    def reordered(self) -> tuple[tuple[Row, Row], ...]:
        """Each pair (earlier, later) of good rows that stand the other way round."""
        return tuple(
            (later, earlier)
            for place, earlier in enumerate(self.kept)
            for later in self.kept[place + 1 :]
            if later.origin < earlier.origin
        )

    def only_changed(self, *columns: str) -> bool:
        """Whether nothing differs but these columns of some rows, and something does."""
        same = not self.removed and not self.added and not self.reordered
        return same and bool(self.changed) and all(found <= set(columns) for found in self.changed.values())

    @property
    def pairs(self) -> tuple[tuple[Row, Row], ...]:
        """Each changed row: as it was, and as it is."""
        return tuple((self.good.rows[row.origin], row) for row in self.kept if row.origin in self.changed)


def _begins_another(good: Good, row: Row) -> bool:
    """Whether a row that follows a whole connection opens the next: a SYN, but none of the old ones sent again."""
    again = row["seq"] in {old["seq"] for old in good.rows if old["flags"] & SYN}
    return bool(row["flags"] & SYN) and not again and good.conversation.is_over


def difference(mutant: Mutant) -> Difference:
    """What a mutant of rows (not of the file) has other than the good capture."""
    rows = mutant.good.conversation.rows
    ends = {rows.initiator, rows.responder}
    kept: dict[int, Row] = {}
    added = []
    for row in mutant.rows:
        if set(row.ends) != ends:
            continue
        if row.origin in range(len(mutant.good.rows)) and row.origin not in kept:
            kept[row.origin] = row
        else:
            if len(kept) == len(mutant.good.rows) and _begins_another(mutant.good, row):
                break
            added.append(row)
    changed = {}
    for origin, row in kept.items():
        old = mutant.good.rows[origin]
        columns = {name for name, value in row.values.items() if value != old[name]} - _NO_CHANGE
        columns |= {"payload"} if row.payload != old.payload else set()
        columns |= {"blocks"} if row.blocks != old.blocks else set()
        if columns:
            changed[origin] = frozenset(columns)
    removed = tuple(row.origin for row in mutant.good.rows if row.origin not in kept)
    return Difference(mutant.good, mutant.family, tuple(kept.values()), removed, tuple(added), changed)


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of difference that leaves the capture legal.

    Attributes:
        reason: why it is legal, with its source, in one line.
        covers: whether a difference is of this kind.
    """

    reason: str
    covers: Callable[[Difference], bool]

    def unless(self, asked: Callable[[Difference], bool]) -> "Rule":
        """The same rule in a lab that asks for more: not where *asked* says so."""
        return Rule(self.reason, lambda found: self.covers(found) and not asked(found))


def flipped(found: Difference) -> int:
    """All flags that were flipped, if nothing else was."""
    bits = 0
    for old, new in found.pairs if found.only_changed("flags") else ():
        bits |= old["flags"] ^ new["flags"]
    return bits


def _says_nothing_new(found: Difference) -> bool:
    """Whether a changed row, or the next of its sender, is now a pure ACK that repeats the one before it."""
    for end in ENDS:
        own = [row for row in found.kept if found.good.end_of(row.origin) == end and row["flags"] & ACK]
        for before, row in pairwise(own):
            same = before["ack"] == row["ack"] and before["window"] == row["window"]
            if row.is_pure_ack and same and {before.origin, row.origin} & set(found.changed):
                return True
    return False


def _is_followed(found: Difference, origin: int) -> bool:
    """Whether another segment of its sender acknowledges later on."""
    end = found.good.end_of(origin)
    return any(
        row.origin > origin and row["flags"] & (ACK | RST) == ACK and found.good.end_of(row.origin) == end
        for row in found.kept
    )


def _is_covered(found: Difference, origin: int) -> bool:
    """Whether a pure ACK, not the handshake's, may be missing."""
    good = found.good
    return good.rows[origin].is_pure_ack and origin not in good.handshake and _is_followed(found, origin)


def _acknowledges_within_reason(found: Difference) -> bool:
    """Whether the changed ACKs, none of control segments, lie between what was acknowledged and what was sent."""
    if not found.only_changed("ack") or _says_nothing_new(found) or set(found.changed) & set(found.good.control):
        return False
    for _, row in found.pairs:
        segment = found.good.conversation.at(row.origin)
        before, sent = segment.acked_before, segment.highest_sent_by_peer
        if before is None or sent is None or not _is_followed(found, row.origin):
            return False
        if signed_difference(row["ack"], before.value) < 0 or signed_difference(row["ack"], sent.value) > 0:
            return False
    return True


def is_independent(good: Good, earlier: Row, later: Row) -> bool:
    """Whether the network may have turned two segments round.

    Between two ends: if the later one does not acknowledge the earlier. Of one end: any, but the three of the handshake
    and the segments of the close among each other, whose order labs ask for.
    """
    if {earlier.origin, later.origin} & set(good.handshake):
        return False
    if good.end_of(earlier.origin) == good.end_of(later.origin):
        return not {earlier.origin, later.origin} <= set(good.control)
    return not earlier.size or signed_difference(later["ack"], earlier["seq"]) <= 0


def _only_reordered(found: Difference) -> bool:
    same = not found.removed and not found.added and not found.changed
    return same and bool(found.reordered) and all(is_independent(found.good, *pair) for pair in found.reordered)


def _options_not_offered(found: Difference) -> bool:
    """SACK declined by either SYN where no SACK is sent; scaling declined by the SYN-ACK."""
    sack_sent = any(row["sack"] for row in found.good.rows)
    for old, new in found.pairs:
        if not old["flags"] & SYN:
            return False
        if old["sack_permitted"] < new["sack_permitted"] or (
            old["sack_permitted"] != new["sack_permitted"] and sack_sent
        ):
            return False
        if old["wscale"] != new["wscale"] and not (old["flags"] & ACK and new["wscale"] == ABSENT):
            return False
    return found.only_changed("sack_permitted", "wscale")


def _duplicate_reported(found: Difference) -> bool:
    """D-SACK: one block, within what the same segment acknowledges."""
    agreed = all(row["sack_permitted"] for row in found.good.rows if row["flags"] & SYN)
    told = all(
        signed_difference(right, row["ack"]) <= 0 < signed_difference(right, left)
        for _, row in found.pairs
        for left, right in row.blocks
    )
    return agreed and told and found.only_changed("sack", "blocks")


LEGAL_TCP = (
    Rule("the connection is over: a SYN now begins another (RFC 9293 §3.6.1)", lambda found: found.is_none),
    Rule(
        "PSH is advice, and ECN's bits speak of congestion (RFC 9293 §3.9.1.2, RFC 3168)",
        lambda found: bool(flipped(found)) and not flipped(found) & ~ADVISORY,
    ),
    Rule(
        "URG says that data is urgent, and changes nothing else (RFC 9293 §3.8.5)",
        lambda found: flipped(found) == URG and all(row["length"] for _, row in found.pairs),
    ),
    Rule(
        "a window may be of any size at any time (RFC 9293 §3.8.6)",
        lambda found: found.only_changed("window") and not _says_nothing_new(found),
    ),
    Rule(
        "an ACK alone may get lost: a later one covers what it acknowledged (RFC 9293 §3.4)",
        lambda found: (
            bool(found.removed)
            and not (found.changed or found.added or found.reordered)
            and all(_is_covered(found, origin) for origin in found.removed)
        ),
    ),
    Rule(
        "an ACK may acknowledge less than all, a later one the rest (RFC 9293 §3.10.7.4)",
        _acknowledges_within_reason,
    ),
    Rule("the network may turn segments round that do not depend on each other (RFC 9293 §3.10.7.4)", _only_reordered),
    Rule("either end may decline SACK, and the responder scaling (RFC 2018 §2, RFC 7323 §2.2)", _options_not_offered),
    Rule("a D-SACK tells of a duplicate that did not pass the capture (RFC 2883 §4)", _duplicate_reported),
)


def acks_of_banners(found: Difference) -> bool:
    """Whether the ACK of an end's first data changed: for labs that ask what it acknowledges."""
    return any(
        "ack" in columns and origin in banner_rows(found.good.conversation) for origin, columns in found.changed.items()
    )
