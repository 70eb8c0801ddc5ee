"""Grade one submission where another system asks for it: `python -m harness.grading.one LAB SUBMISSION RESULTS_JSON`.

Gradescope's autograder calls it (harness.grading.gradescope_bundle). Exit status 0: graded, whatever the mark; 2: it
could not be, and there is no file.
"""

import json
import sys
from pathlib import Path

from harness.errors import HarnessError, one_line
from harness.grading.assessing import Settings
from harness.grading.exports.gradescope import results_document
from harness.grading.graded import Graded
from harness.grading.judging import Judge, with_judge
from harness.grading.workers import pool
from harness.intake.archives import Piece
from harness.intake.submission import Submission
from harness.runs import write_private


def grade_one(lab: str, submission: Path) -> Graded:
    """Grade a folder, an archive or a capture.

    Raises:
        HarnessError: there is nothing there, or the rubric cannot be run.
    """
    if not submission.exists():
        raise HarnessError(f"{submission}: there is no submission")
    given = Submission("submission", one_line(submission.name, 100), submission, pieces=(Piece(submission),))
    settings = Settings(lab)

    def judged(judge: Judge) -> str | None:
        with pool(1, judge, settings) as workers:
            ((assessed,),) = workers.assess([given], {})
        return assessed.graded

    graded = with_judge(lab, judged)
    if graded is None:
        raise HarnessError(f"{submission}: it was not judged")
    return Graded.loads(graded)


def main(arguments: list[str]) -> int:
    """Grade, and write Gradescope's results.json."""
    if len(arguments) != 3:
        sys.stderr.write("usage: python -m harness.grading.one LAB SUBMISSION RESULTS_JSON\n")
        return 2
    lab, submission, results = arguments
    try:
        document = json.dumps(results_document(grade_one(lab, Path(submission))), ensure_ascii=False)
        write_private(Path(results), document + "\n")
    except HarnessError as error:
        sys.stderr.write(one_line(str(error), 1000) + "\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
