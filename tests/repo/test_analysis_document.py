"""docs/analysis.md explains every name of ./invoke analyze, with ladders as they are drawn."""

import json
import re
import shutil
import struct
import subprocess
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import analyze
from harness.tcp import notes, verdict
from harness.tcp.states import TABLE, State
from harness.tcp.wireshark import NAMES
from tests.repo.draw_ladders import DOCUMENT, DRAWN, ROOT, ladder

NAMED = ROOT / "tests" / "data" / "named"
CAPTURES = sorted(path.stem for path in NAMED.glob("*.pcap"))
TSHARK = shutil.which("tshark")
MISSING: dict[str, str] = {}  # a name without a capture → why it could not be recorded
TEXT = DOCUMENT.read_text(encoding="utf-8")


def sections() -> dict[tuple[str, str], str]:
    """(kind, name) → the section under the heading that has the name: "open", "close", "closer" or, for a note, ""."""
    found: dict[tuple[str, str], str] = {}
    for part in re.split(r"^(?=##+ )", TEXT, flags=re.MULTILINE):
        heading = re.match(r"### (?:(open|close|closer) )?(`.*`)\n", part)
        if heading:
            found.update({(heading[1] or "", name): part for name in re.findall(r"`([^`]+)`", heading[2])})
    return found


SECTIONS = sections()


@cache
def document(capture: str) -> dict[str, Any]:
    """What --json --segments prints of a capture."""
    printed = StringIO()
    with redirect_stdout(printed):
        analyze([NAMED / f"{capture}.pcap"], json=True, segments=True, filter_=None, absolute=False)
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def notes_of(capture: str) -> list[tuple[int, str]]:
    """(frame, note) of a capture."""
    segments = [segment for one in document(capture)["conversations"] for segment in one["segments"]]
    return [(segment["frame"], note) for segment in segments for note in segment["notes"]]


def captures_of(section: str) -> list[str]:
    return [Path(found[2].split()[1]).stem for found in DRAWN.finditer(section)]


@pytest.mark.parametrize("switches", [found[2] for found in DRAWN.finditer(TEXT)])
def test_ladders_are_as_they_are_drawn(switches: str) -> None:
    """Else: .venv/bin/python -m tests.repo.draw_ladders."""
    (written,) = (found[3] for found in DRAWN.finditer(TEXT) if found[2] == switches)
    assert written == ladder(switches)


def test_every_block_is_one_that_is_drawn() -> None:
    assert TEXT.count("```text") == len(list(DRAWN.finditer(TEXT)))
    assert all("▶" in found[3] for found in DRAWN.finditer(TEXT))


def values(of: str, until: str) -> list[str]:
    """The values of a field in the docstring of Verdict."""
    assert verdict.Verdict.__doc__
    told = verdict.Verdict.__doc__.partition(f"{of}: ")[2].partition(f"{until}: ")[0]
    return re.findall(r'"([a-z-]+)"', told)


def required() -> list[tuple[str, str]]:
    """What must have a section: open's and close's values, and notes."""
    assert notes.__doc__
    ours = re.findall(r"^    ([a-z_]+)  ", notes.__doc__, re.MULTILINE)
    named = [("open", value) for value in values("open", "close")]
    named += [("close", value) for value in values("close", "closer")]
    return named + [("", note) for note in (*NAMES, *ours)]


def test_what_is_required_is_found() -> None:
    kinds = [kind for kind, _ in required()]
    assert (kinds.count("open"), kinds.count("close")) == (6, 6)
    assert kinds.count("") == len(NAMES) + 7


@pytest.mark.parametrize(("kind", "name"), sorted({*required(), *SECTIONS}))
def test_every_name_has_a_section_whose_capture_shows_it(kind: str, name: str) -> None:
    if name in MISSING:
        pytest.skip(MISSING[name])
    captures = captures_of(SECTIONS[kind, name])
    assert captures
    shown = [
        {one[kind] for one in document(capture)["conversations"]} if kind else {note for _, note in notes_of(capture)}
        for capture in captures
    ]
    assert any(name in found for found in shown), shown


def test_every_illegal_step_is_named() -> None:
    """Those of the state table, and one of them with a ladder."""
    illegal = {cell.replace("-", "_") for cell in TABLE.values() if not isinstance(cell, State)}
    assert not {name for name in illegal if f"`{name}`" not in TEXT}
    assert illegal & {name for _, name in SECTIONS}


def tables(heading: str) -> list[dict[str, str]]:
    """The rows of the tables of a section."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    assert part
    rows: list[dict[str, str]] = []
    head: list[str] = []
    for line in part[1].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif not line.startswith("|---"):
            rows.append(dict(zip(head, (cell.strip("`") for cell in cells), strict=True)))
    return rows


@pytest.mark.parametrize("field", ["closer", "conn_state"])
def test_examples_of_values(field: str) -> None:
    for row in tables(field):
        (one,) = document(row["as in"])["conversations"]
        assert one[field] == (None if row["value"] == "null" else row["value"]), row


def test_examples_of_histories() -> None:
    for row in filter(lambda row: row["as in"], tables("history")):
        (one,) = document(row["as in"])["conversations"]
        assert one["history"] == row["history"], row
        assert row["letter"] in row["history"] or row["letter"].lower() in row["history"], row


def test_examples_of_completeness() -> None:
    for row in tables("completeness"):
        one = document(row["as in"])["conversations"][-1]
        assert one["completeness"] == int(row["completeness"]), row
        assert one["completeness"] & int(row["bit"]), row


def test_the_json_documents_fields() -> None:
    """All fields there are, in order, and no others; and their types."""
    whole = document("fast_open")
    (one,) = whole["conversations"]
    objects = [whole, whole["capture"], one, one["options_initiator"], one["segments"][0]]
    rows = tables("The JSON document")
    fields = [next(iter(row.values())) for row in rows]
    assert fields == [field for found in objects for field in found]
    assert {row["type"] for row in rows} <= {
        *("string", "integer", "boolean", "number", "object", "array of objects", "array of strings"),
        *("string or null", "integer or null", "number or null", "object or null"),
    }
    python = {"string": str, "integer": int, "boolean": bool, "number": float, "object": dict, "array": list}
    printed = [value for found in objects for value in found.values()]
    for row, value in zip(rows, printed, strict=True):
        allowed = python[row["type"].split()[0]]
        assert type(value) is allowed or (value is None and row["type"].endswith("or null")), row


def test_every_capture_is_in_the_document_and_small() -> None:
    assert not [name for name in CAPTURES if f"named/{name}.pcap" not in TEXT and f"`{name}`" not in TEXT]
    assert not [name for name in CAPTURES if (NAMED / f"{name}.pcap").stat().st_size > 4096]
    assert set(re.findall(r"named/(\S+)\.pcap", TEXT)) <= set(CAPTURES)


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert target in anchors, target


@pytest.fixture(scope="module")
def tsharks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """(frame, note) of all captures by tshark: each link type's captures are put together, for they share no port."""
    if TSHARK is None:
        pytest.skip("tshark is not installed: no second opinion")
    version = subprocess.run([TSHARK, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    if " 4.0." not in version.partition("\n")[0]:
        pytest.skip("tshark is not one of 4.0, and may have other rules: no second opinion")
    by_header: dict[bytes, list[str]] = {}
    for name in CAPTURES:
        by_header.setdefault((NAMED / f"{name}.pcap").read_bytes()[:24], []).append(name)
    found: dict[str, list[tuple[int, str]]] = {}
    for header, names in by_header.items():
        path = tmp_path_factory.mktemp("named") / "all.pcap"
        path.write_bytes(header + b"".join((NAMED / f"{name}.pcap").read_bytes()[24:] for name in names))
        fields = [word for name in NAMES for word in ("-e", f"tcp.analysis.{name}")]
        command = [TSHARK, "-r", str(path), "-T", "fields", "-E", "occurrence=f", *fields]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
        lines = [[name for name, cell in zip(NAMES, line.split("\t"), strict=True) if cell] for line in said]
        for name in names:
            count = document(name)["capture"]["frames"]
            here, lines = lines[:count], lines[count:]
            found[name] = [(frame, note) for frame, told in enumerate(here, 1) for note in told]
        assert not lines
    return found


@pytest.mark.parametrize("capture", CAPTURES)
def test_wiresharks_notes_are_tsharks(capture: str, tsharks: dict[str, list[tuple[int, str]]]) -> None:
    """On the same frames."""
    assert [(frame, note) for frame, note in notes_of(capture) if note in NAMES] == tsharks[capture]


def test_captures_share_no_port() -> None:
    """Put together they must stay apart."""
    ends = [one["initiator"] for name in CAPTURES for one in document(name)["conversations"][:1]]
    assert len(ends) == len(set(ends))


def test_captures_are_pcap_of_this_byte_order() -> None:
    """As tests/live/record_named_captures.py writes them."""
    for name in CAPTURES:
        assert struct.unpack("<I", (NAMED / f"{name}.pcap").read_bytes()[:4]) == (0xA1B2C3D4,)
