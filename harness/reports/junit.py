"""Results as JUnit XML, for CI systems and graders that read it."""

from functools import lru_cache
from xml.sax.saxutils import quoteattr

from harness.grading.results import Results, frame_list

_PROBLEMS = {"failed": "failure", "not-shown": "failure", "not-judged": "error"}


def _clean(text: str) -> str:
    """Only what XML 1.0 §2.2 allows."""
    if text.isprintable():
        return text
    return "".join(
        c if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff") else "?"
        for c in text
    )


@lru_cache(maxsize=1 << 10)  # names come again with every submission
def _attribute(text: str) -> str:
    return quoteattr(_clean(text))


def junit(results: Results) -> bytes:
    """One testsuite, a testcase a check; points and frames are properties."""
    problems = [_PROBLEMS.get(check.outcome) for check in results.checks]
    lab = _attribute(results.lab)
    counts = f'tests="{len(problems)}" failures="{problems.count("failure")}" errors="{problems.count("error")}"'
    lines = [
        "<?xml version='1.0' encoding='utf-8'?>",
        "<testsuites>",
        f"  <testsuite name={lab} {counts}>",
    ]
    for check, problem in zip(results.checks, problems, strict=True):
        lines.append(
            f"    <testcase classname={lab} name={_attribute(check.id)}>\n"
            "      <properties>\n"
            f'        <property name="points" value="{check.points}" />\n'
            f'        <property name="outcome" value={_attribute(check.outcome)} />\n'
            f'        <property name="frames" value="{frame_list(check.frames, " ")}" />\n'
            "      </properties>"
        )
        if problem:
            lines.append(f"      <{problem} message={_attribute(check.message)} type={_attribute(check.outcome)} />")
        lines.append("    </testcase>")
    lines += ["  </testsuite>", "</testsuites>", ""]
    return "\n".join(lines).encode()
