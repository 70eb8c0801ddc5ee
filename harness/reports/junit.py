"""Results as JUnit XML, for CI systems and graders that read it."""

from xml.etree import ElementTree as ET

from harness.grading.results import Results

_PROBLEMS = {"failed": "failure", "not-shown": "failure", "not-judged": "error"}


def _clean(text: str) -> str:
    """Only what XML 1.0 §2.2 allows."""
    return "".join(
        c if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff") else "?"
        for c in text
    )


def junit(results: Results) -> bytes:
    """One testsuite, a testcase a check; points and frames are properties."""
    problems = [_PROBLEMS.get(check.outcome) for check in results.checks]
    suite = ET.Element(
        "testsuite",
        name=results.lab,
        tests=str(len(problems)),
        failures=str(problems.count("failure")),
        errors=str(problems.count("error")),
    )
    for check, problem in zip(results.checks, problems, strict=True):
        case = ET.SubElement(suite, "testcase", classname=results.lab, name=check.id)
        properties = ET.SubElement(case, "properties")
        for name, value in (
            ("points", str(check.points)),
            ("outcome", check.outcome),
            ("frames", " ".join(map(str, check.frames))),
        ):
            ET.SubElement(properties, "property", name=name, value=value)
        if problem:
            ET.SubElement(case, problem, message=_clean(check.message), type=check.outcome)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
