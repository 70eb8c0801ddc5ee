"""A rubric's proof on the terminal: the kill table, what each check did, and all that is not as it should be."""

import textwrap
from collections.abc import Iterator

from harness.grading.proving import FamilyCount, Finding, Proof
from harness.reports.ladder import StyledLine

_FAMILY = "{:<11}{:>8}{:>7}{:>7}{:>7}{:>8}{:>6}{:>5}"
_HEADS = ("family", "mutants", "killed", "reader", "equiv.", "unasked", "alive", "%")
_MOST = 60  # findings of a kind that are shown
_LONGEST = 240
_EXPLAINED = "reader: no whole capture; equiv.: legal TCP; unasked: wrong, but the lab does not ask"


def percent(killed: int, of: int) -> str:
    """A share, rounded down: 100 is all, and nothing less."""
    return str(100 * killed // of) if of else "-"


def _to_kill(family: FamilyCount) -> int:
    return family.mutants - family.equivalent - family.not_asked


def _families(proof: Proof, width: int) -> Iterator[StyledLine]:
    yield _FAMILY.format(*_HEADS), "bold"
    for one in proof.families:
        counts = (one.mutants, one.killed, one.unreadable, one.equivalent, one.not_asked, one.survived)
        share = percent(one.killed + one.unreadable, _to_kill(one))
        yield _FAMILY.format(one.name[:11], *counts, share), "red" if one.survived else ""
    yield from _wrapped("", _EXPLAINED, width, "dim")


def _rules(proof: Proof, width: int) -> Iterator[StyledLine]:
    used = {reason: count for reason, count in proof.rules.items() if count}
    if used:
        yield "", ""
        yield "mutants that need not be killed", "bold"
    for reason, count in used.items():
        yield from _wrapped(f"{count:>5}  ", reason, width)


def _checks(proof: Proof, width: int) -> Iterator[StyledLine]:
    yield "", ""
    room = width - 16
    yield f"{'check':<{room}}{'killed':>8}{'alone':>8}", "bold"
    for check in proof.checks:
        name = _cut(check.id, room)
        style = "" if check.failed else "red"
        yield f"{name:<{room}}{check.killed:>8}{check.alone:>8}", style


def _findings(title: str, findings: tuple[Finding, ...]) -> Iterator[StyledLine]:
    if findings:
        yield "", ""
        yield f"{title}: {len(findings)}", "bold red"
    for one in findings[:_MOST]:
        words = [one.good, one.name, one.check, one.message]
        yield _cut(f" ✗ {': '.join(word for word in words if word)}", _LONGEST), "red"
    if len(findings) > _MOST:
        yield f" … and {len(findings) - _MOST} more; --json lists all", "red"


def _broken(proof: Proof) -> Iterator[StyledLine]:
    """A check that breaks mostly does so again and again: one line for each way."""
    ways: dict[tuple[str, str], list[Finding]] = {}
    for one in proof.broken:
        ways.setdefault((one.check, one.message), []).append(one)
    if ways:
        yield "", ""
        yield "checks that broke: no mark was possible", "bold red"
    for (check, message), found in ways.items():
        where = f"{len(found)} times, first on {found[0].good}: {found[0].name}"
        yield _cut(f" ✗ {check}: {message} ({where})", _LONGEST), "red"


def _wrapped(begin: str, text: str, width: int, style: str = "") -> Iterator[StyledLine]:
    lines = textwrap.wrap(text, width - len(begin), break_on_hyphens=False)
    yield begin + lines[0], style
    yield from ((" " * len(begin) + line, style) for line in lines[1:])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def last_line(proof: Proof) -> str:
    """The whole proof in one line."""
    to_kill = sum(map(_to_kill, proof.families))
    killed = to_kill - sum(one.survived for one in proof.families)
    equivalent, unasked = (sum(getattr(one, name) for one in proof.families) for name in ("equivalent", "not_asked"))
    words = [f"{percent(killed, to_kill)} % of {to_kill} mutants killed, {equivalent} equivalent"]
    words[0] += f", {unasked} not asked for" if unasked else ""
    if proof.kept == proof.variants:
        words.append(f"{proof.variants} legal variants kept all points")
    else:
        words.append(f"{proof.variants - proof.kept} of {proof.variants} legal variants lost points")
    punished = {(one.good, one.name) for one in proof.punished}
    legal_mutants = len(punished) - (proof.variants - proof.kept)
    if legal_mutants > 0:
        words.append(f"{legal_mutants} equivalent mutant{'s' if legal_mutants > 1 else ''} lost points")
    if proof.unproven:
        words.append(f"unproven: {', '.join(proof.unproven)}")
    if proof.broken:
        words.append(f"checks broke {len(proof.broken)}×")
    return "; ".join(words)


def kill_table(proof: Proof, width: int = 80) -> Iterator[StyledLine]:
    """The proof as (line, style); *width* columns, at least 60. Findings take one line each, however long."""
    width = max(width, 60)
    yield _cut(f"the rubric of lab {proof.lab}, proven on {', '.join(proof.good)}", width), "bold"
    yield "", ""
    yield from _families(proof, width)
    yield from _rules(proof, width)
    yield from _checks(proof, width)
    if proof.redundant:
        yield from _wrapped(
            "", f"others kill all that these kill (no error): {', '.join(proof.redundant)}", width, "dim"
        )
    yield from _findings("survived, though it is wrong", proof.survivors)
    yield from _findings("lost points, though it is legal", proof.punished)
    yield from _broken(proof)
    if proof.unproven:
        yield "", ""
        yield "no mutant ever failed these; nothing shows that they can fail", "bold red"
        yield from ((f" ✗ {name}", "red") for name in proof.unproven)
    yield "", ""
    yield last_line(proof), f"bold {'green' if proof.proven else 'red'}"
