"""Reproduce an article: run the labs that its claims need, and decide claim by claim."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.claim_plugin import NOT_RUN
from harness.cli import ROOT, print_styled, progress, say, width
from harness.errors import HarnessError, one_line
from harness.interrupts import between_steps, stop_if_asked
from harness.lab import experiment_of, run_into
from harness.language import _
from harness.runs import RunFolder, dump_json, new_run_folder

if TYPE_CHECKING:
    from labs.article.claims import Claim

ARTICLE = ROOT / "labs" / "article"
CLAIMS = "claims.json"


def _asked_for(only: str | None) -> "tuple[Claim, ...]":
    """The claims with these ids, or all.

    Raises:
        HarnessError: one of them is unknown.
    """
    from labs.article.claims import CLAIMS as ALL

    if only is None:
        return ALL
    wanted = {name.strip().upper() for name in only.split(",") if name.strip()}
    unknown = sorted(wanted - {claim.id for claim in ALL})
    if unknown or not wanted:
        said = one_line(", ".join(unknown), 60) or "nothing"
        raise HarnessError(f"--only {said}: claims are {ALL[0].id} to {ALL[-1].id}, with commas between several")
    return tuple(claim for claim in ALL if claim.id in wanted)


def reproduce_article(*, inventory: Path, provider: str | None, out: Path | None, only: str | None, slow: bool) -> int:
    """Run all labs that the claims need, decide the claims, write claims.json, print the table.

    A lab that cannot be run leaves its claims *not shown*, with the reason.

    Returns:
        0 if every claim was decided, whatever the verdict; otherwise 1.

    Raises:
        HarnessError: nothing could be decided: the inventory, the provider, the place or the cases are no good.
    """
    with between_steps():
        from harness.announcing import quietly
        from harness.hosts.testbeds import testbed_for
        from harness.inventory import load_inventory

        claims = _asked_for(only)
        loaded = load_inventory(inventory)
        chosen = provider or loaded.provider
        testbed_for(loaded, chosen, None, quietly)  # is there one? Nothing is brought up
        labs = dict.fromkeys(lab for claim in claims for lab in claim.labs)
        with new_run_folder(out, ROOT / "runs", "reproduce-article") as (folder, final):
            for number, lab in enumerate(labs, 1):
                with progress(quiet=False) as announce:
                    announce(f"{number} of {len(labs)}: {lab}")
                    place = RunFolder(folder.path / lab)
                    place.path.mkdir()
                    try:
                        run_into(place, lab, chosen, experiment_of(lab, loaded, chosen, slow=slow), announce)
                    except HarnessError as error:
                        place.write(NOT_RUN, f"{one_line(str(error), 1000)}\n")
                stop_if_asked()
            from harness.grading.deciding import decide
            from harness.reports.claims import claims_document, claims_table
            from harness.reports.claims_page import CLAIMS_PAGE, claims_page

            decided = decide(ARTICLE / "test_claims.py", folder.path, tuple(claim.id for claim in claims))
            folder.write(CLAIMS, dump_json(claims_document(claims, decided)))
            folder.write(CLAIMS_PAGE, claims_page(claims, decided, folder.path))
        print_styled(claims_table(claims, decided, width=width()))
        say(_("the runs and {file}: {folder}").format(file=CLAIMS, folder=final[0]))
    return 0 if all(decided[claim.id].verdict != "not-shown" for claim in claims) else 1
