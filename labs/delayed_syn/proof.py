"""What the lab on delayed SYNs declares to be proven: see harness/grading/proving.py.

The lab asks how an old SYN is refused: its mutants change the few segments of that, and what it asks of the connection
that was wanted.
"""

from collections.abc import Iterator
from itertools import combinations

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule
from harness.grading.legal_variants import MILLISECOND, variant_of
from harness.grading.mutants import MICROSECOND, Family, Good, Mutant
from harness.tcp.flags import ACK, FIN, PSH, RST, SYN

EVERY_CONVERSATION = True


def _is_wanted(good: Good) -> bool:
    return good.conversation.open == "three-way"


def _asked(good: Good) -> tuple[int, ...]:
    """The rows of a refused connection; of the wanted one those of its handshake and of its FINs and their ACKs."""
    return good.control if _is_wanted(good) else tuple(range(len(good.rows)))


def fields(good: Good) -> Iterator[Mutant]:
    """The fields of all that the lab asks of."""
    for family in (mutants.sequence_numbers, mutants.ack_numbers, mutants.flags, mutants.addresses, mutants.lengths):
        yield from family(good.touching(_asked(good)))


def dropped(good: Good) -> Iterator[Mutant]:
    """Each of these missing; all from each on."""
    yield from mutants.missing(good, _asked(good))


def order(good: Good) -> Iterator[Mutant]:
    """Two of these swapped, but a segment and the same sent again."""
    pairs = combinations(_asked(good), 2)
    yield from mutants.swapped(good, (pair for pair in pairs if not mutants.same_but_for_time(good, *pair)))


def inserted(good: Good) -> Iterator[Mutant]:
    """Behind each segment of a refused connection: a third step after all, data, a FIN, another RST, another SYN."""
    if _is_wanted(good):
        return
    last, answer = good.last_of("initiator"), good.last_of("responder")
    made = {
        "the third step": last.but(flags=ACK, ack=answer["seq"] + 1),
        "data": last.resized(4).but(flags=ACK | PSH, ack=answer["seq"] + 1),
        "a FIN": last.but(flags=ACK | FIN, ack=answer["seq"] + 1),
        "a RST": last.but(flags=RST),
        "a SYN of another ISN": last.but(flags=SYN, seq=last["seq"] + 1000),
        "data by the responder": answer.resized(4).but(flags=ACK | PSH, seq=answer["seq"] + 1),
    }
    for place in _asked(good):
        row = good.rows[place]
        for what, another in made.items():
            new = another.again(0).but(time=row["time"] + MICROSECOND)
            yield Mutant("inserted", f"{what} behind {good.frames(place)}", good, good.with_instead(place, row, new))


def times(good: Good) -> Iterator[Mutant]:
    """The answer sent again too early; the old SYN before the wanted connection's end."""
    if _is_wanted(good):
        return
    again = [one.row for one in good.conversation.segments if one.sender == "responder" and one.repeats]
    for place in again:
        for wanted in (10, 200, 890):
            by = good.rows[place - 1]["time"] + wanted * MILLISECOND - good.rows[place]["time"]
            yield Mutant("times", f"{good.frames(place)} after {wanted} ms", good, good.later(place, by))
    begin, first = good.rows[0]["time"], good.beside[0]["time"]
    for by in (first - begin - MILLISECOND, first - begin + MILLISECOND):
        yield Mutant("times", f"{good.frames(0)} earlier by {-by} ns", good, good.later(0, by))


MUTANTS = (fields, dropped, order, inserted, times)


def _of_a_refusal(found: Difference) -> bool:
    """The lab asks for each segment of a refused connection, and for their order."""
    return not _is_wanted(found.good) and bool(found.removed or found.reordered or found.family == "times")


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _any_isn(found: Difference) -> bool:
    """The number of a SYN-ACK that nothing acknowledges, and that was sent once."""
    return found.only_changed("seq") and len(found.good.rows) == 3 and found.pairs[0][0]["flags"] == SYN | ACK


def _one_rst_more(found: Difference) -> bool:
    """That of the first answer, which the good capture does not show."""
    same = not (found.removed or found.changed or found.reordered) and len(found.good.rows) > 3
    ours = [row["flags"] == RST and row["time"] > found.good.rows[1]["time"] for row in found.added]
    return same and ours == [True]


EQUIVALENT = (
    *(rule.unless(_of_a_refusal) for rule in LEGAL_TCP),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
    Rule("an initial sequence number may be any (RFC 9293 §3.4.1)", _any_isn),
    Rule("a RST for each answer, whenever it gets there (RFC 9293 §3.10.7.1)", _one_rst_more),
)
NOT_ASKED = (
    Rule("how connections open and close the labs handshake and teardown ask", lambda found: _is_wanted(found.good)),
)


HOUR = 3600_000 * MILLISECOND


def _of_the_wanted(family: Family) -> Family:
    """Variants of the wanted connection, which take longer: they begin an hour earlier."""

    def made(good: Good) -> Iterator[Mutant]:
        for variant in family(good) if _is_wanted(good) else ():
            rows = tuple(row.but(time=row["time"] - HOUR) for row in variant.rows)
            yield variant_of(variant.name, good, rows)

    return made


def refused_again(good: Good) -> Iterator[Mutant]:
    """The SYN too came more than once; more RSTs are lost, seen or not; the answer comes again after 3 s."""
    if _is_wanted(good):
        return
    syn, answer, *rest = good.rows
    yield variant_of("the SYN comes twice", good, (syn, syn.again(MICROSECOND), answer, *rest))
    if len(rest) > 1:
        second = 1000 * MILLISECOND
        shown = rest[-1].again(0).but(time=answer["time"] + MICROSECOND)
        yield variant_of("the first RST is lost behind the capture", good, (syn, answer, shown, *rest))
        yield variant_of("a RST more is lost", good, (*good.rows, *(row.again(2 * second) for row in rest)))
        yield variant_of("the first timeout is 3 s", good, good.later(2, 2 * second))


def moved(good: Good) -> Iterator[Mutant]:
    """The connection at another time."""
    yield variant_of("an hour away", good, good.later(0, -HOUR if _is_wanted(good) else HOUR))


VARIANTS = (
    legal_variants.other_isns, legal_variants.ipv6, legal_variants.advice, legal_variants.other_options,
    legal_variants.captured_twice, legal_variants.ack_captured_twice,
    *map(_of_the_wanted, (legal_variants.handshake_sent_again, legal_variants.data_sent_again,
                          legal_variants.data_cut_anew, legal_variants.fin_sent_again, legal_variants.overtaken,
                          legal_variants.other_acks)),
    refused_again, moved,
)  # fmt: skip
