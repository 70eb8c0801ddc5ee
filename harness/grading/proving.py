"""The grader, graded: does a rubric take points off what is wrong, and off nothing that is legal?

A proof starts from captures that earn all points. Every mutant of them must lose points, but those that rules declare
to be legal TCP all the same; these, and every legal variant, must lose none. A check that fails on no mutant is
unproven: nothing shows that it can fail. What a lab declares stands in its folder:

    good/       captures that earn all points; needed
    proof.py    optional; any of these names, each with a default:
                MUTANTS     families of mutants            harness.grading.mutants.MUTANTS
                EQUIVALENT  rules: mutants that are legal  harness.grading.legal_rules.LEGAL_TCP
                NOT_ASKED   rules: wrong, but the lab does not ask for it; may survive    ()
                VARIANTS    families of legal variants     harness.grading.legal_variants.LEGAL_VARIANTS
                EVERY_CONVERSATION  whether the rubric asks for all conversations of a capture: then each is changed
                            in its turn, while the others stay                    False: the lab's alone counts

A folder of private tests may hold a proof.py and a good/ of its own, which then count instead.
"""

import runpy
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.captures.reading import load_capture
from harness.errors import HarnessError, one_line
from harness.evidence import Evidence, evidence_of_capture, lab_conversation
from harness.grading import judging
from harness.grading.legal_rules import LEGAL_TCP, Rule, difference
from harness.grading.legal_variants import LEGAL_VARIANTS
from harness.grading.mutants import MUTANTS, Family, Good, Mutant, good_capture
from harness.grading.results import Check
from harness.tcp.conversation import NotShown, conversations_of_many
from harness.tcp.segments import Segments

SCHEMA = "tcp-lab/proof/v1"
_TOGETHER = 500  # captures worked out together
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a lab declares to be proven; see this module's text.

    Attributes:
        good: the good captures' files.
        mutants: families of mutants.
        equivalent: which mutants are legal TCP.
        not_asked: which mutants may survive though they are not.
        variants: families of legal variants.
        every_conversation: whether each conversation of a capture is changed, among the others; else the lab's alone.
    """

    good: tuple[Path, ...]
    mutants: tuple[Family, ...] = MUTANTS
    equivalent: tuple[Rule, ...] = LEGAL_TCP
    not_asked: tuple[Rule, ...] = ()
    variants: tuple[Family, ...] = LEGAL_VARIANTS
    every_conversation: bool = False


@dataclass(frozen=True, slots=True)
class FamilyCount:
    """What became of one family of mutants.

    Attributes:
        name: the family.
        mutants: how many there are; the sum of those that follow.
        killed: lost points that the good capture has.
        unreadable: were no whole capture with TCP, which is told before any rubric is asked.
        equivalent: are legal TCP by a rule.
        not_asked: survived, and a rule says that the lab does not ask for it.
        survived: lost nothing, and no rule says why; or a check broke on it.
    """

    name: str
    mutants: int
    killed: int
    unreadable: int
    equivalent: int
    not_asked: int
    survived: int


@dataclass(frozen=True, slots=True)
class CheckCount:
    """What one check did.

    Attributes:
        id: its name.
        killed: how many mutants lost its points: it failed, or they did not show what it asks for.
        failed: how many it failed on; 0 leaves the check unproven.
        alone: how many lost no other check's points; 0 makes it redundant, which is no error.
        families: how many it killed, by family.
    """

    id: str
    killed: int
    failed: int
    alone: int
    families: dict[str, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One capture that came out wrong.

    Attributes:
        good: the good capture that it was made from.
        name: what was done to which frames.
        why: for a survivor its family; for a legal one why it is legal; for a broken check what it raised.
        check: the check that took the points or broke; empty for a survivor.
        message: what it said.
    """

    good: str
    name: str
    why: str
    check: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of a proof: `tcp-lab/proof/v1`.

    Attributes:
        lab: the lab's name.
        good: the good captures' names.
        families: by family of mutants.
        checks: by check, in the rubric's order.
        rules: how many mutants each rule covered, by its reason.
        variants: how many legal variants there are, the good captures included.
        kept: how many of them kept all points.
        survivors: mutants that lost nothing.
        punished: legal captures (good ones, variants, and mutants that are legal) that lost points; one for each check.
        broken: checks that raised an error, so that no mark was possible.
    """

    lab: str
    good: tuple[str, ...]
    families: tuple[FamilyCount, ...]
    checks: tuple[CheckCount, ...]
    rules: dict[str, int]
    variants: int
    kept: int
    survivors: tuple[Finding, ...]
    punished: tuple[Finding, ...]
    broken: tuple[Finding, ...]

    @property
    def unproven(self) -> tuple[str, ...]:
        """The checks that failed on no mutant."""
        return tuple(check.id for check in self.checks if not check.failed)

    @property
    def redundant(self) -> tuple[str, ...]:
        """The checks that others would not be missed without: no mutant lost their points alone."""
        return tuple(check.id for check in self.checks if check.failed and not check.alone)

    @property
    def proven(self) -> bool:
        """Whether all that is wrong lost points, all that is legal none, and each check failed once."""
        return not (self.survivors or self.punished or self.broken or self.unproven)

    @property
    def exit_status(self) -> int:
        """0 if proven, else 1."""
        return 0 if self.proven else 1

    def to_json(self) -> dict[str, Any]:
        """As --json prints it."""
        return {
            "schema": SCHEMA,
            "proven": self.proven,
            **asdict(self),
            "unproven": list(self.unproven),
            "redundant": list(self.redundant),
        }


# -- what a lab declares -----------------------------------------------------------------------------------------------


def declared(lab: str, private: Path | None = None) -> Declared:
    """What a lab, or a folder of private tests for it, declares.

    Raises:
        HarnessError: there is no such lab, it has no good capture, or its proof.py cannot be run.
    """
    folders = [folder for folder in (private, judging.rubric_folder(lab)) if folder is not None]
    good = next((found for folder in folders if (found := sorted((folder / "good").glob("[!.]*")))), None)
    if not good:
        raise HarnessError(
            f"{folders[-1]}: nothing to prove the rubric from; put captures that earn all points into "
            f"{folders[-1] / 'good'} (tcpdump -w, pcap or pcapng)"
        )
    path = next((folder / "proof.py" for folder in folders if (folder / "proof.py").is_file()), None)
    if path is None:
        return Declared(tuple(good))
    try:
        names = runpy.run_path(str(path))
    except Exception as error:  # noqa: BLE001 - whatever a lab's own code raises
        raise HarnessError(f"{path}: {type(error).__name__}: {one_line(str(error))}") from None
    given = {
        name: names[name.upper()]
        for name in ("mutants", "equivalent", "not_asked", "variants")
        if name.upper() in names
    }
    for name, value in given.items():
        kind = "rules" if name in ("equivalent", "not_asked") else "functions"
        wrong = (
            [item for item in value if isinstance(item, Rule) != (kind == "rules")] if isinstance(value, tuple) else 1
        )
        if wrong:
            raise HarnessError(f"{path}: {name.upper()} is to be a tuple of {kind}")
    every_conversation = names.get("EVERY_CONVERSATION", False)
    if not isinstance(every_conversation, bool):
        raise HarnessError(f"{path}: EVERY_CONVERSATION is to be True or False")
    return Declared(tuple(good), **given, every_conversation=every_conversation)


def goods_of(wanted: Declared, *, every: bool = False) -> list[Good]:
    """The good captures, taken apart; one for each conversation, where each counts.

    Args:
        wanted: what the lab declares.
        every: have the fields of every segment changed, not of a sample.

    Raises:
        HarnessError: one is not a whole capture that holds TCP.
    """
    found = []
    for path in wanted.good:
        evidence, data = evidence_of_capture(path), path.read_bytes()
        if not wanted.every_conversation:
            found.append(good_capture(path.name, data, evidence.conversation, every=every))
            continue
        for conversation in evidence.conversations:
            beside = (one for one in evidence.conversations if one is not conversation)
            name = f"{path.name}, {conversation.initiator}"
            found.append(good_capture(name, data, conversation, beside, every=every))
    return found


def _made(families: Iterable[Family], good: Good) -> Iterator[Mutant]:
    """All that families make of a good capture; what it does not show, or is already, makes nothing."""
    for family in families:
        try:
            yield from (mutant for mutant in family(good) if mutant.data or mutant.rows != good.rows)
        except NotShown:
            continue


# -- judging -----------------------------------------------------------------------------------------------------------


def _segments(mutant: Mutant, folder: Path) -> Segments:
    """A mutant's segments; a changed file is read as a student's is.

    Raises:
        HarnessError: there is nothing that can be judged.
    """
    if not mutant.data:
        return mutant.segments()
    path = folder / "changed"
    path.write_bytes(mutant.data)
    return load_capture(path).segments


def _judge_all(
    lab: str, mutants: list[Mutant], private: Path | None, progress: Progress
) -> list[tuple[Check, ...] | None]:
    """Each mutant's checks, in one pytest session; None for what cannot be read."""
    unreadable: set[int] = set()

    def evidence() -> Iterator[Evidence]:
        with tempfile.TemporaryDirectory() as folder:
            for begin in range(0, len(mutants), _TOGETHER):
                if begin:
                    progress(f"judged {begin} of {len(mutants)}")
                read = []
                for place, mutant in enumerate(mutants[begin : begin + _TOGETHER], begin):
                    try:
                        read.append(_segments(mutant, Path(folder)))
                    except HarnessError:
                        unreadable.add(place)
                for found in conversations_of_many(read):
                    yield Evidence(lab_conversation(found, lab), conversations=tuple(found))

    judged = iter(judging.judge_many(lab, evidence(), private))
    return [None if place in unreadable else next(judged) for place in range(len(mutants))]


def prove(
    lab: str, private: Path | None = None, progress: Progress = lambda _step: None, *, every: bool = False
) -> Proof:
    """Prove a lab's rubric on its declared set.

    Args:
        lab: the lab's name.
        private: a folder of private tests to prove along with it; None for none.
        progress: is told each step as it begins.
        every: change the fields of every segment, not of a sample.

    Raises:
        HarnessError: there is nothing to prove it from, or the rubric cannot be run.
    """
    wanted = declared(lab, private)
    progress("make mutants and legal variants")
    goods = goods_of(wanted, every=every)
    legal = [Mutant("legal", "as it stands", good, good.rows) for good in goods]
    legal += [variant for good in goods for variant in _made(wanted.variants, good)]
    mutants = [mutant for good in goods for mutant in _made(wanted.mutants, good)]
    progress(f"judge {len(mutants)} mutants and {len(legal)} legal variants")
    judged = _judge_all(lab, legal + mutants, private, progress)
    tally = _Tally(wanted)
    for variant, checks in zip(legal, judged, strict=False):
        why = "a good capture" if variant.rows == variant.good.rows else "a legal variant"
        tally.count_legal(variant, checks, why)
    kept = len(legal) - len({(finding.good, finding.name) for finding in (*tally.punished, *tally.broken)})
    for mutant, checks in zip(mutants, judged[len(legal) :], strict=True):
        tally.count_mutant(mutant, checks)
    return tally.proof(lab, len(legal), kept, judged[0] or ())


@dataclass(frozen=True, slots=True)
class _Kill:
    """A mutant that lost a check's points: its family, whether the check failed, and whether no other check did."""

    family: str
    failed: bool
    alone: bool


class _Tally:
    """Counts outcomes."""

    def __init__(self, wanted: Declared) -> None:
        self._wanted = wanted
        self._fates: dict[str, dict[str, int]] = {}
        self._kills: dict[str, list[_Kill]] = {}  # by the check's id
        self._rules = dict.fromkeys((rule.reason for rule in (*wanted.equivalent, *wanted.not_asked)), 0)
        self._lost_by_good: dict[str, set[str]] = {}
        self.survivors: list[Finding] = []
        self.punished: list[Finding] = []
        self.broken: list[Finding] = []

    def _note_broken(self, mutant: Mutant, checks: tuple[Check, ...]) -> None:
        for check in checks:
            if check.outcome == "not-judged":
                self.broken.append(Finding(mutant.good.name, mutant.name, mutant.family, check.id, check.message))

    def _lost(self, mutant: Mutant, checks: tuple[Check, ...]) -> list[Check]:
        """The checks that a mutant did not pass, but its good capture did."""
        known = self._lost_by_good.get(mutant.good.name, set())
        return [check for check in checks if check.outcome in ("failed", "not-shown") and check.id not in known]

    def count_legal(self, variant: Mutant, checks: tuple[Check, ...] | None, why: str) -> None:
        """Note whether a legal capture kept all points; a good capture comes before what was made of it."""
        if checks is None:
            self.punished.append(Finding(variant.good.name, variant.name, why, "", "cannot be read"))
            return
        self._note_broken(variant, checks)
        lost = self._lost(variant, checks)
        self.punished += [Finding(variant.good.name, variant.name, why, check.id, check.message) for check in lost]
        if variant.rows == variant.good.rows:
            self._lost_by_good[variant.good.name] = {check.id for check in lost}

    def count_mutant(self, mutant: Mutant, checks: tuple[Check, ...] | None) -> None:
        """Note what became of a mutant, and by which checks."""
        fate = self._fate(mutant, checks)
        counts = self._fates.setdefault(mutant.family, {})
        counts[fate] = counts.get(fate, 0) + 1

    def _rule(self, rules: tuple[Rule, ...], mutant: Mutant) -> Rule | None:
        if not mutant.rows:
            return None
        found = difference(mutant)
        rule = next((rule for rule in rules if rule.covers(found)), None)
        if rule is not None:
            self._rules[rule.reason] += 1
        return rule

    def _fate(self, mutant: Mutant, checks: tuple[Check, ...] | None) -> str:
        if checks is None:
            return "unreadable"
        rule = self._rule(self._wanted.equivalent, mutant)
        if rule is not None:
            self.count_legal(mutant, checks, rule.reason)
            return "equivalent"
        self._note_broken(mutant, checks)
        lost = self._lost(mutant, checks)
        for check in lost:
            kill = _Kill(mutant.family, failed=check.outcome == "failed", alone=len(lost) == 1)
            self._kills.setdefault(check.id, []).append(kill)
        if any(check.points for check in lost):
            return "killed"
        if self._rule(self._wanted.not_asked, mutant):
            return "not_asked"
        if all(check.outcome != "not-judged" for check in checks):  # what broke on it is told as such
            self.survivors.append(Finding(mutant.good.name, mutant.name, mutant.family))
        return "survived"

    def _check(self, name: str) -> CheckCount:
        kills = self._kills.get(name, [])
        families: dict[str, int] = {}
        for kill in kills:
            families[kill.family] = families.get(kill.family, 0) + 1
        failed, alone = sum(kill.failed for kill in kills), sum(kill.alone for kill in kills)
        return CheckCount(name, len(kills), failed, alone, families)

    def proof(self, lab: str, variants: int, kept: int, checks: tuple[Check, ...]) -> Proof:
        """All that was counted."""
        fates = ("killed", "unreadable", "equivalent", "not_asked", "survived")
        families = tuple(
            FamilyCount(name, sum(counts.values()), **{fate: counts.get(fate, 0) for fate in fates})
            for name, counts in self._fates.items()
        )
        return Proof(
            lab=lab,
            good=tuple(path.name for path in self._wanted.good),
            families=families,
            checks=tuple(self._check(check.id) for check in checks),
            rules=self._rules,
            variants=variants,
            kept=kept,
            survivors=tuple(self.survivors),
            punished=tuple(self.punished),
            broken=tuple(self.broken),
        )
