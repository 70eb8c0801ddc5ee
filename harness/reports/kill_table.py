"""A rubric's proof on the terminal: the kill table, what each check did, and all that is not as it should be."""

from collections.abc import Iterable, Iterator

from harness.grading.proving import FamilyCount, Finding, Proof
from harness.language import _, ngettext
from harness.messages import translated
from harness.reports.columns import cut, left, right, wrap
from harness.reports.ladder import StyledLine

_FAMILY = 11  # columns of its name; then those of its numbers
_NUMBERS = (8, 7, 7, 7, 8, 6, 5)
_MOST = 60  # findings of a kind that are shown
_LONGEST = 240


def percent(killed: int, of: int) -> str:
    """A share, rounded down: 100 is all, and nothing less."""
    return str(100 * killed // of) if of else "-"


def _to_kill(family: FamilyCount) -> int:
    return family.mutants - family.equivalent - family.not_asked


def _families(proof: Proof, width: int) -> Iterator[StyledLine]:
    heads = (_("mutants"), _("killed"), _("reader"), _("equiv."), _("unasked"), _("alive"), "%")
    yield _row(_("family"), heads), "bold"
    for one in proof.families:
        counts = (one.mutants, one.killed, one.unreadable, one.equivalent, one.not_asked, one.survived)
        share = percent(one.killed + one.unreadable, _to_kill(one))
        yield _row(one.name[:_FAMILY], (*map(str, counts), share)), "red" if one.survived else ""
    explained = _("reader: no whole capture; equiv.: legal TCP; unasked: wrong, but the lab does not ask")
    yield from _wrapped("", explained, width, "dim")


def _row(name: str, cells: Iterable[str]) -> str:
    return left(name, _FAMILY) + "".join(right(cell, room) for cell, room in zip(cells, _NUMBERS, strict=True))


def _rules(proof: Proof, width: int) -> Iterator[StyledLine]:
    used = {reason: count for reason, count in proof.rules.items() if count}
    if used:
        yield "", ""
        yield _("mutants that need not be killed"), "bold"
    for reason, count in used.items():
        yield from _wrapped(f"{count:>5}  ", translated(reason), width)


def _checks(proof: Proof, width: int) -> Iterator[StyledLine]:
    yield "", ""
    room = width - 16
    yield left(_("check"), room) + right(_("killed"), 8) + right(_("alone"), 8), "bold"
    for check in proof.checks:
        style = "" if check.failed else "red"
        yield f"{left(cut(check.id, room), room)}{check.killed:>8}{check.alone:>8}", style


def _findings(title: str, findings: tuple[Finding, ...]) -> Iterator[StyledLine]:
    if findings:
        yield "", ""
        yield f"{title}: {len(findings)}", "bold red"
    for one in findings[:_MOST]:
        words = [one.good, one.name, one.check, translated(one.message)]
        yield cut(f" ✗ {': '.join(word for word in words if word)}", _LONGEST), "red"
    if len(findings) > _MOST:
        yield " " + _("… and {more} more; --json lists all").format(more=len(findings) - _MOST), "red"


def _broken(proof: Proof) -> Iterator[StyledLine]:
    """A check that breaks mostly does so again and again: one line for each way."""
    ways: dict[tuple[str, str], list[Finding]] = {}
    for one in proof.broken:
        ways.setdefault((one.check, one.message), []).append(one)
    if ways:
        yield "", ""
        yield _("checks that broke: no mark was possible"), "bold red"
    for (check, message), found in ways.items():
        words = _("{count} times, first on {good}: {mutant}")
        where = words.format(count=len(found), good=found[0].good, mutant=found[0].name)
        yield cut(f" ✗ {check}: {translated(message)} ({where})", _LONGEST), "red"


def _wrapped(begin: str, text: str, width: int, style: str = "") -> Iterator[StyledLine]:
    lines = wrap(text, width - len(begin), break_on_hyphens=False)
    yield begin + lines[0], style
    yield from ((" " * len(begin) + line, style) for line in lines[1:])


def last_line(proof: Proof) -> str:
    """The whole proof in one line."""
    to_kill = sum(map(_to_kill, proof.families))
    killed = to_kill - sum(one.survived for one in proof.families)
    equivalent, unasked = (sum(getattr(one, name) for one in proof.families) for name in ("equivalent", "not_asked"))
    share = _("{percent} % of {count} mutants killed").format(percent=percent(killed, to_kill), count=to_kill)
    counts = [share, _("{count} equivalent").format(count=equivalent)]
    counts += [_("{count} not asked for").format(count=unasked)] if unasked else []
    words = [_(", ").join(counts)]
    if proof.kept == proof.variants:
        words.append(_("{count} legal variants kept all points").format(count=proof.variants))
    else:
        lost = proof.variants - proof.kept
        words.append(_("{lost} of {count} legal variants lost points").format(lost=lost, count=proof.variants))
    punished = {(one.good, one.name) for one in proof.punished}
    legal_mutants = len(punished) - (proof.variants - proof.kept)
    if legal_mutants > 0:
        said = ngettext(
            "{count} equivalent mutant lost points", "{count} equivalent mutants lost points", legal_mutants
        )
        words.append(said.format(count=legal_mutants))
    if proof.unproven:
        words.append(_("unproven: {checks}").format(checks=", ".join(proof.unproven)))
    if proof.broken:
        words.append(_("checks broke {count}×").format(count=len(proof.broken)))
    return _("; ").join(words)


def kill_table(proof: Proof, width: int = 80) -> Iterator[StyledLine]:
    """The proof as (line, style); *width* columns, at least 60. Findings take one line each, however long."""
    width = max(width, 60)
    head = _("the rubric of lab {lab}, proven on {captures}").format(lab=proof.lab, captures=", ".join(proof.good))
    yield cut(head, width), "bold"
    yield "", ""
    yield from _families(proof, width)
    yield from _rules(proof, width)
    yield from _checks(proof, width)
    if proof.redundant:
        words = _("others kill all that these kill (no error): {checks}")
        yield from _wrapped("", words.format(checks=", ".join(proof.redundant)), width, "dim")
    yield from _findings(_("survived, though it is wrong"), proof.survivors)
    yield from _findings(_("lost points, though it is legal"), proof.punished)
    yield from _broken(proof)
    if proof.unproven:
        yield "", ""
        yield _("no mutant ever failed these; nothing shows that they can fail"), "bold red"
        yield from ((f" ✗ {name}", "red") for name in proof.unproven)
    yield "", ""
    yield last_line(proof), f"bold {'green' if proof.proven else 'red'}"
