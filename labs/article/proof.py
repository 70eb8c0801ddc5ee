"""What the article's lab declares to be proven: see harness/grading/proving.py.

The lab judges one connection: its handshake, its banners, the last keys and its close are what the mutants change. Of
the other connection it asks only that it is there and talks meanwhile, so that one is taken away.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from harness.grading import legal_variants, mutants
from harness.grading.legal_rules import LEGAL_TCP, Difference, Rule, acks_of_banners, flipped
from harness.grading.legal_variants import MILLISECOND, TIMEOUT, variant_of
from harness.grading.mutants import MICROSECOND, Family, Good, Mutant, Row, banner_rows, in_order
from harness.tcp.conversation import ENDS, End, conversations, other
from harness.tcp.flags import ACK, FIN, PSH, RST, SYN
from labs.article.test_article import Key, typed_word

EVERY_CONVERSATION = True
HOUR = 3600_000 * MILLISECOND

# -- what the lab looks at ---------------------------------------------------------------------------------------------


def _is_the_labs(good: Good) -> bool:
    """Whether it is the first connection of which the capture shows the SYN."""
    first = min(row["frame"] for row in (*good.rows, *good.beside) if row["flags"] & SYN)
    return any(row["frame"] == first for row in good.rows)


def _of_the_lab(family: Family) -> Family:
    """A family that changes the lab's connection, not the other."""
    return lambda good: family(good) if _is_the_labs(good) else iter(())


def _keys(good: Good) -> tuple[Key, ...]:
    return typed_word(good.conversation)


def _word(good: Good) -> tuple[int, ...]:
    """The rows of the last keys and their echoes."""
    return tuple(segment.row for key in _keys(good) for segment in key)


def _banners(good: Good) -> tuple[int, ...]:
    return tuple(stream.first_data.row for stream in good.conversation.streams)


def _close(good: Good) -> tuple[int, ...]:
    """The rows of both FINs and of their ACKs."""
    streams = good.conversation.streams
    return tuple(sorted({segment.row for stream in streams for segment in (stream.fin, stream.fin_ack)}))


def _asked(good: Good) -> tuple[int, ...]:
    return tuple(sorted({*good.handshake, *_banners(good), *_word(good), *_close(good)}))


# -- what is wrong -----------------------------------------------------------------------------------------------------


def fields(good: Good) -> Iterator[Mutant]:
    """The fields of all segments that the lab asks for."""
    for family in (mutants.sequence_numbers, mutants.flags, mutants.lengths, mutants.addresses):
        yield from family(good.touching(_asked(good)))


def acks(good: Good) -> Iterator[Mutant]:
    """What acknowledges the SYNs, the banners, the keys, the echoes and the FINs; for a banner seq + 1, too."""
    answers = tuple(row for row in banner_rows(good.conversation) if row not in _banners(good))
    yield from mutants.ack_numbers(good.touching((*good.handshake, *answers, *_word(good), *_close(good))))
    for stream in good.conversation.streams:
        banner = stream.first_data
        answer = next(stream.acks_of(banner.relative[0]))
        row = good.rows[answer.row].but(ack=banner.seq.value + 1)
        yield Mutant("ack", f"ack of {good.frames(answer.row)} is seq + 1", good, good.with_instead(answer.row, row))


def dropped(good: Good) -> Iterator[Mutant]:
    """Each of these segments missing, and all from each of them on; begun too late."""
    yield from mutants.missing(good, _asked(good))
    for count in (1, 2, 3, *_banners(good), _word(good)[0] + 1):
        yield Mutant("dropped", f"without the first {count} segments", good, good.rows[count:])


def order(good: Good) -> Iterator[Mutant]:
    """Two segments of the handshake, or of the close, swapped; a key swapped with its echo."""
    pairs = [(one, two) for part in (good.handshake, _close(good)) for one in part for two in part if one < two]
    yield from mutants.swapped(good, (*pairs, *((key.sent.row, key.echo.row) for key in _keys(good))))


def inserted(good: Good) -> Iterator[Mutant]:
    """A word between the first three; a FIN too early; behind the FINs more data, another FIN, a RST before the end."""
    syn, syn_ack = (good.rows[place] for place in good.handshake[:2])
    for before in (syn, syn_ack):
        made = syn_ack.again(0).but(time=before["time"] + MICROSECOND, flags=ACK)
        made = made.but(seq=syn_ack["seq"] + (before is syn_ack))
        rows = good.with_instead(before.origin, before, made)
        yield Mutant("inserted", f"an ACK behind {good.frames(before.origin)}", good, rows)
    for key in _keys(good):
        for segment in key:
            row = good.rows[segment.row]
            fin = row.again(MICROSECOND).resized(0).but(flags=ACK | FIN, seq=row["seq"] + row.size)
            rows = good.with_instead(segment.row, row, fin)
            yield Mutant("inserted", f"FIN behind {good.frames(segment.row)}", good, rows)
    for stream in good.conversation.streams:
        place = stream.fin.row
        row = good.rows[place]
        on = row.again(MICROSECOND).resized(0).but(seq=row["seq"] + row.size)
        made_too = {
            "data": on.resized(4).but(flags=ACK | PSH),
            "FIN": on.but(flags=ACK | FIN),
            "RST": on.but(flags=RST),
        }
        for what, another in made_too.items():
            yield Mutant(
                "inserted", f"{what} behind {good.frames(place)}", good, good.with_instead(place, row, another)
            )


def merged(good: Good) -> Iterator[Mutant]:
    """The last keys in fewer segments: pasted, or sent before the echo of those before came back."""
    keys = _keys(good)
    first, last = keys[0].sent.row, keys[-1].sent.row
    between = range(first, last)
    whole = good.rows[last].resized(sum(int(key.sent.len) for key in keys)).but(seq=good.rows[first]["seq"])
    echoes = {key.echo.row for key in keys[:-1]}
    pasted = [whole if row.origin == last else row for row in good.rows if row.origin not in between]
    # What came back on the way comes back with the last of it.
    back = sum(good.rows[row]["length"] for row in echoes)
    answer = good.rows[keys[-1].echo.row]
    pasted = [
        row.resized(row["length"] + back).but(seq=row["seq"] - back) if row.origin == answer.origin else row
        for row in pasted
    ]
    pasted = [row.but(ack=row["ack"] - back) if row.origin == last else row for row in pasted]
    yield Mutant("merged", f"the keys of {good.frames(first, last)} and between in one", good, tuple(pasted))
    ahead = [row for row in good.rows if row.origin in {key.sent.row for key in keys}]
    acked = [row.but(ack=ahead[0]["ack"]) for row in ahead]
    others = [row for row in good.rows[first : answer.origin] if row not in ahead]
    rows = in_order((*good.rows[:first], *acked, *others, *good.rows[answer.origin :]))
    yield Mutant("merged", f"the keys of {good.frames(first, last)} and between ahead of all echoes", good, rows)


def window(good: Good) -> Iterator[Mutant]:
    """The other connection missing, silent, and open at another time."""
    if not _is_the_labs(good):
        yield Mutant("window", "missing", good)
        silent = tuple(row for row in good.rows if not row["length"])
        yield Mutant("window", "silent", good, silent)
        yield Mutant("window", "an hour before", good, good.later(0, -HOUR))
        yield Mutant("window", "an hour later", good, good.later(0, HOUR))


def files(good: Good) -> Iterator[Mutant]:
    """The file damaged: once, not once for each of its conversations."""
    yield from mutants.files(good)


MUTANTS = (
    *map(_of_the_lab, (fields, acks, dropped, order, inserted, merged, mutants.banners, files)),
    window,
)

# -- what is legal, and what is not asked ------------------------------------------------------------------------------


def _acks_of_the_word(found: Difference) -> bool:
    word = set(_word(found.good))
    return any("ack" in columns and origin in word for origin, columns in found.changed.items())


def _of_the_word(found: Difference) -> bool:
    """The lab asks that a key comes before its echo."""
    word = set(_word(found.good))
    return any({one.origin, two.origin} <= word for one, two in found.reordered)


def _of_the_window(found: Difference) -> bool:
    """The lab asks when the other connection is open."""
    return found.family == "window"


def _ack_without_the_flag(found: Difference) -> bool:
    return found.only_changed("ack") and not any(row["flags"] & ACK for _, row in found.pairs)


def _third_step_with_data(found: Difference) -> bool:
    """The ACK alone is missing: the banner, which acknowledges the same, is the third step."""
    third = found.good.handshake[2:]
    return found.removed == third != () and not (found.changed or found.added or found.reordered)


def _ack_of_the_data_alone(found: Difference) -> bool:
    if not found.only_changed("ack"):
        return False
    first, _ = _fins(found.good)
    data_end = (first["seq"] + first["length"]) % (1 << 32)
    return all(row.is_pure_ack and row["ack"] == data_end for _, row in found.pairs)


def _ack_and_fin_turned(found: Difference) -> bool:
    """By their places, or by the ACK's seq: that behind the FIN."""
    if found.only_changed("seq"):
        _, second = _fins(found.good)
        behind = (second["seq"] + second.size) % (1 << 32)
        return all(row.is_pure_ack and row.ends == second.ends and row["seq"] == behind for _, row in found.pairs)
    if not found.reordered or found.removed or found.added or found.changed:
        return False
    _, second = _fins(found.good)
    return all(
        one.is_pure_ack and one.ends == second.ends and two.origin == second.origin for one, two in found.reordered
    )


def _fins(good: Good) -> tuple[Row, Row]:
    one, two = sorted(stream.fin.row for stream in good.conversation.streams)
    return good.rows[one], good.rows[two]


EQUIVALENT = (
    *(
        rule.unless(_of_the_window).unless(acks_of_banners).unless(_acks_of_the_word).unless(_of_the_word)
        for rule in LEGAL_TCP
    ),
    Rule("where the flag ACK is off, the field means nothing (RFC 9293 §3.1)", _ack_without_the_flag),
    Rule("the third step may carry data (RFC 9293 §3.5)", _third_step_with_data),
    Rule("the second FIN may be the first to acknowledge the first (RFC 9293 §3.6)", _ack_of_the_data_alone),
    Rule("a FIN and its sender's ACK may overtake each other (RFC 9293 §3.10.7.4)", _ack_and_fin_turned),
)


def _fin_twice(found: Difference) -> bool:
    return flipped(found) == FIN and all(row["seq"] == _fins(found.good)[1]["seq"] for _, row in found.pairs)


def _the_other_is_judged(found: Difference) -> bool:
    """No SYN, or no answer to it, is left to show that this is the lab's connection; the other one shows both."""
    alone = replace(found.good, beside=())
    opens = any(row["flags"] & SYN for row in found.good.beside)
    return opens and conversations(alone.segments(found.kept))[0].open == "not-shown"


NOT_ASKED = (
    Rule("a FIN twice at once: the lab handshake asks when something may be sent again", _fin_twice),
    Rule("the other session of the capture is whole, and judged instead", _the_other_is_judged),
    Rule("what was typed before shows keys, too", lambda found: found.family == "merged"),
)

# -- legal variants ----------------------------------------------------------------------------------------------------


def _said(good: Good, behind: int, *said: tuple[End, int]) -> tuple[Row, ...]:
    """The rows with more that is said behind one of them, and the numbers of all that follows moved on.

    Args:
        good: whose rows.
        behind: a row at which all that was sent before is acknowledged, or is by what is said now.
        said: who speaks, and how many bytes; an ACK alone has none.
    """
    rows = list(good.rows[: behind + 1])
    last = {end: good.last_of(end, behind + 1) for end in ENDS}
    more = dict.fromkeys(ENDS, 0)
    for end, length in said:
        seq, ack = (last[one]["seq"] + last[one].size for one in (end, other(end)))
        flags = ACK | (PSH if length else 0)
        made = (
            last[end].again(0).resized(length).but(flags=flags, seq=seq, ack=ack, time=rows[-1]["time"] + MICROSECOND)
        )
        last[end] = made
        more[end] += length
        rows.append(made)
    for row in good.rows[behind + 1 :]:
        end = good.end_of(row.origin)
        rows.append(row.but(seq=row["seq"] + more[end], ack=row["ack"] + more[other(end)]))
    return in_order(tuple(rows))


def typing(good: Good) -> Iterator[Mutant]:
    """More than was typed: keys mistyped and taken back, hidden among others, and what ssh asks meanwhile."""
    keys = _keys(good)
    key: tuple[End, int] = ("initiator", int(keys[0].sent.len))
    echo: tuple[End, int] = ("responder", int(keys[0].echo.len))
    more: dict[str, tuple[tuple[End, int], ...]] = {
        "another key": (key, echo),
        "another key, its echo acknowledged at once": (key, echo, ("initiator", 0)),
        "another key, acknowledged before its echo": (key, ("responder", 0), echo),
        "three that hide the keys": (key, echo) * 3,
        "two that hide the keys, on their way together": (key, key, echo, echo),
        "ServerAliveInterval": (("initiator", 60), ("responder", 28)),
        "ClientAliveInterval": (("responder", 60), ("initiator", 28)),
        "a message of another user": (("responder", 300), ("initiator", 0)),
    }
    for name, said in more.items():
        for place in (keys[0].echo.row, keys[-2].echo.row):
            yield variant_of(f"{name} behind {good.frames(place)}", good, _said(good, place, *said))


def slowly(good: Good) -> Iterator[Mutant]:
    """A minute before the last word, and seconds between two keys."""
    keys = _keys(good)
    yield variant_of("a minute later", good, good.later(keys[0].sent.row, 60_000 * MILLISECOND))
    yield variant_of("five seconds between two keys", good, good.later(keys[2].sent.row, 5_000 * MILLISECOND))


def _lengths(name: str, to: Callable[[int], int]) -> Family:
    """All data but the banners of other lengths, as other ciphers and sums have it."""

    def variants(good: Good) -> Iterator[Mutant]:
        where = {row.origin: good.conversation.at(row.origin).relative for row in good.rows}
        changed = [row for row in good.rows if row["length"] and row.origin not in _banners(good)]
        grown = [
            (good.end_of(row.origin), where[row.origin][0] + row["length"], to(row["length"]) - row["length"])
            for row in changed
        ]

        def moved(end: End, position: int) -> int:
            return sum(by for whose, until, by in grown if whose == end and until <= position)

        rows = []
        for row in good.rows:
            (begin, _, ack), end = where[row.origin], good.end_of(row.origin)
            made = row.resized(to(row["length"])) if row in changed else row
            rows.append(made.but(seq=row["seq"] + moved(end, begin), ack=row["ack"] + moved(other(end), ack or 0)))
        yield variant_of(name, good, tuple(rows))

    return variants


def key_sent_again(good: Good) -> Iterator[Mutant]:
    """A key, and an echo, sent again after a timeout: before its answer came, and after it."""
    for key in (_keys(good)[0], _keys(good)[3]):
        for segment in key:
            place = segment.row
            for behind in (place, place + 1):
                again = good.rows[place].again(0).but(time=good.rows[behind]["time"] + TIMEOUT)
                rest = (row.but(time=row["time"] + 2 * TIMEOUT) for row in good.rows[behind + 1 :])
                rows = (*good.rows[: behind + 1], again, *rest)
                yield variant_of(f"{good.frames(place)} sent again behind {good.frames(behind)}", good, rows)


def banner_in_two(good: Good) -> Iterator[Mutant]:
    """A banner in two segments."""
    for place in _banners(good):
        row = good.rows[place]
        payload = row.payload or bytes(row["length"])
        head = row.with_payload(payload[:9]).but(flags=row["flags"] & ~PSH)
        tail = row.again(MICROSECOND).with_payload(payload[9:]).but(seq=row["seq"] + 9)
        yield variant_of(f"{good.frames(place)} in two", good, good.with_instead(place, head, tail))


def window_as_well(good: Good) -> Iterator[Mutant]:
    """The other connection: opened before the capture began, still open at its end, to another host, and resting."""
    if _is_the_labs(good):
        return
    shown = tuple(row for row in good.rows if not row["flags"] & SYN)
    yield variant_of("opened before", good, shown)
    yield variant_of("still open", good, tuple(row for row in good.rows if not row["flags"] & FIN))
    yield variant_of("opened before, still open", good, tuple(row for row in shown if not row["flags"] & FIN))
    called = good.conversation.rows.responder
    rows = (
        row.but(src=row["src"] ^ 0x80) if row.ends[0] == called else row.but(dst=row["dst"] ^ 0x80) for row in shown
    )
    yield variant_of("to another host", good, tuple(rows))


def closes(good: Good) -> Iterator[Mutant]:
    """Every close that RFC 9293 knows, by either end first."""
    for family in (
        legal_variants.closed_in_four,
        legal_variants.closed_in_three,
        legal_variants.closed_at_once,
        legal_variants.closed_at_once_too,
        legal_variants.fin_with_data,
        legal_variants.half_closed,
        legal_variants.last_ack_lost,
        legal_variants.fin_sent_again,
    ):
        yield from family(good)


def acks_overtaken(good: Good) -> Iterator[Mutant]:
    """Each ACK that its sender's next data may have overtaken."""
    for one, two in pairwise(good.rows):
        ours = good.end_of(one.origin) == good.end_of(two.origin)
        if ours and one.is_pure_ack and two["length"] and one.origin not in good.handshake:
            rows = (*good.rows[: one.origin], two, one, *good.rows[two.origin + 1 :])
            yield variant_of(f"{good.frames(one.origin, two.origin)} turned round", good, in_order(rows))


VARIANTS = (
    *map(
        _of_the_lab,
        (
            legal_variants.other_isns, legal_variants.ipv6, legal_variants.advice, legal_variants.other_options,
            legal_variants.handshake_sent_again, legal_variants.data_sent_again, legal_variants.data_cut_anew,
            legal_variants.captured_twice, legal_variants.ack_captured_twice, legal_variants.overtaken,
            legal_variants.ack_overtaken_by_ack, legal_variants.other_acks, legal_variants.other_files, closes, typing,
            slowly, key_sent_again, banner_in_two, acks_overtaken,
            _lengths("the article's cipher", lambda length: length + 32),
            _lengths("a cipher with longer sums", lambda length: length + 16 + length % 3 * 8),
        ),
    ),
    window_as_well,
)  # fmt: skip
