"""What the hosts of a run said of themselves."""

from collections.abc import Iterator
from typing import Any

from harness.language import _
from harness.reports.gradebook import printable
from harness.runs import RunRecord

_LONGEST = 1000


def hosts_of(run: RunRecord) -> dict[str, Any] | None:
    """What the hosts said of themselves; anything that a run.json may hold is text."""
    document = run.document
    hosts = {name: said for name, said in document["hosts"].items() if isinstance(said, dict)}
    names = (
        ("address", _("address")),
        ("system", _("system")),
        ("kernel", _("kernel")),
        ("ssh", "ssh"),
        ("tcpdump", "tcpdump"),
        ("interface", _("interface")),
    )
    rows = [(word, [_text(said.get(key)) for said in hosts.values()]) for key, word in names]
    return {
        "names": [_text(name) for name in hosts],
        "rows": [row for row in rows if any(row[1])],
        "facts": list(_facts(document)),
    }


def _facts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, word in (("run_id", _("run")), ("began", _("began")), ("provider", _("provider"))):
        if document.get(key):
            yield word, _text(document[key])
    counters = document.get("tcpdump_counters")
    if isinstance(counters, dict):
        yield _("tcpdump's counters"), _text(", ".join(f"{name} {count}" for name, count in counters.items()))
    commands = document.get("commands")
    if isinstance(commands, dict):
        for name, argv in commands.items():
            yield _text(name), _text(" ".join(map(str, argv)) if isinstance(argv, list) else argv)
    if document.get("capture_sha256"):
        yield "SHA-256", _text(document["capture_sha256"])


def _text(value: object) -> str:
    return "" if value is None else printable(str(value), _LONGEST)
