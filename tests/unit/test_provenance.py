"""Provenance: the strongest witness counts, and whatever does not fit is flagged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.captures.reading import read_capture
from harness.grading.nonces import nonce
from harness.grading.provenance import (
    Provenance,
    SignatureState,
    banner_nonces,
    files_beside,
    make_manifest,
    manifest_problems,
    provenance_of,
)
from harness.tcp.conversation import conversations
from tests.pcaps import Frame, decode, encode

PCAP = (Path(__file__).resolve().parents[1] / "data" / "four-segment.pcap").read_bytes()
OWN, BOBS, NOBODYS = (nonce(b"0123456789abcdef", "tcp-lab", "handshake", name) for name in ("ada", "bob", "eve"))
FILES = {"capture.pcap": PCAP, "run.json": b"{}"}
BANNER = 5  # the frame with the responder's banner, from 0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=8,
)


# -- the banner ------------------------------------------------------------------------------------------------------


def with_banner(*pieces: bytes) -> list[Frame]:
    """The good capture; the responder's banner comes in these pieces, all else is as if it had its old length."""
    frames = decode(PCAP)
    old = frames[BANNER]
    assert old.payload.startswith(b"SSH-")
    longer = sum(map(len, pieces)) - len(old.payload)
    new, at = [], old.seq
    for piece in pieces:
        new.append(replace(old, payload=piece, seq=at))
        at += len(piece)
    later = [
        replace(f, seq=f.seq + longer) if f.sport == 22 else replace(f, ack=f.ack + longer)
        for f in frames[BANNER + 1 :]
    ]
    return [*frames[:BANNER], *(replace(frame, checksum=None) for frame in [*new, *later])]


def found_in(frames: list[Frame], **switches: int) -> tuple[str, ...]:
    """The nonces in a capture of these frames."""
    (conversation,) = conversations(read_capture(encode(frames, **switches), "x").segments)  # type: ignore[arg-type]
    return banner_nonces(conversation)


LINE = f"SSH-2.0-OpenSSH_9.2p1 Debian-2 {OWN}\r\n".encode()
PIECES = [LINE[:3], LINE[3:40], LINE[40:]]


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ((LINE,), (OWN,)),
        (PIECES, (OWN,)),
        ((LINE + b"and the start of the key exchange",), (OWN,)),
        ((b"a line before it\r\n" + LINE,), (OWN,)),
        ((LINE.replace(b"\r\n", b"\n"),), (OWN,)),
        ((b"no banner: " + OWN.encode() + b"\r\n",), ()),
        ((b"SSH-2.0-OpenSSH_9.2p1\r\n" + OWN.encode() + b"\r\n",), ()),
        ((OWN.encode() + b"\r\nSSH-2.0-OpenSSH_9.2p1\r\n",), ()),
    ],
)
def test_the_responders_identification_is_searched(pieces: tuple[bytes, ...], found: tuple[str, ...]) -> None:
    """Its line that begins with SSH-, in one segment or several; nothing before it, nothing after it."""
    assert found_in(with_banner(*pieces)) == found


def test_the_initiators_banner_does_not_count() -> None:
    """Anybody can have ssh say anything."""
    frames = with_banner(LINE)
    assert frames[3].payload.startswith(b"SSH-")
    said = f"SSH-2.0-{'x' * (len(frames[3].payload) - 45)} {BOBS}\r\n".encode()[: len(frames[3].payload)]
    frames[3] = replace(frames[3], payload=said, checksum=None)
    assert found_in(frames) == (OWN,)


def test_sent_again_and_out_of_order() -> None:
    """Segments are put in order; of bytes sent twice the first count."""
    frames = with_banner(*PIECES)
    one, two, three = frames[BANNER : BANNER + 3]
    other_again = replace(three, payload=three.payload.replace(OWN.encode()[-4:], b"aaaa"))
    across = replace(two, payload=LINE[20:60], seq=one.seq + 20)  # two again, with the begin of three
    frames[BANNER : BANNER + 3] = [three, two, across, one, other_again]
    assert found_in(frames) == (OWN,)
    frames[BANNER : BANNER + 5] = [one, three]  # two is not in the capture
    assert found_in(frames) == ()


def test_a_capture_without_payload_shows_none() -> None:
    """Cut frames, or a text listing: none, and no error."""
    assert found_in(with_banner(LINE), snaplen=80) == ()
    listing = (Path(__file__).resolve().parents[1] / "data" / "article-handshake.txt").read_bytes()
    (conversation,) = conversations(read_capture(listing, "x").segments)
    assert banner_nonces(conversation) == ()


def test_one_direction_only_shows_none() -> None:
    """The responder said nothing."""
    assert found_in([frame for frame in decode(PCAP) if frame.sport != 22]) == ()
    assert found_in([frame for frame in with_banner(LINE) if frame.sport == 22]) == (OWN,)


# -- the manifest ----------------------------------------------------------------------------------------------------


def test_a_manifest_fits_its_files() -> None:
    """As it is made it has no problem; the manifest itself and its signature are not in it."""
    manifest = make_manifest("handshake", "ada", OWN, FILES)
    assert manifest_problems(manifest, {**FILES, "manifest.json": manifest, "manifest.json.sig": b"x"}) == ()
    document = json.loads(manifest)
    assert (document["schema"], document["lab"], document["student"]) == ("tcp-lab/manifest/v1", "handshake", "ada")
    assert document["nonce"] == OWN
    assert list(document["files"]) == ["capture.pcap", "run.json"]
    assert "nonce" not in json.loads(make_manifest("handshake", "ada", None, FILES))


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({**FILES, "run.json": b"{ }"}, "run.json is not the file that manifest.json names"),
        ({"run.json": b"{}"}, "manifest.json names capture.pcap, which was not handed in"),
        ({**FILES, "more\x1b.pcap": b""}, "more?.pcap is not named in manifest.json"),
    ],
)
def test_each_file_that_does_not_fit_is_named(files: dict[str, bytes], problem: str) -> None:
    """Changed, missing, added."""
    (said,) = manifest_problems(make_manifest("handshake", "ada", None, FILES), files)
    assert said.startswith(problem)
    assert said.isprintable()


def test_a_manifest_in_a_folder_names_what_stands_beside_it() -> None:
    """What stands elsewhere is not signed, whatever its name."""
    manifest = make_manifest("handshake", "ada", None, FILES)
    below = {f"ada/{name}": data for name, data in {**FILES, "manifest.json": manifest}.items()}
    assert manifest_problems(manifest, files_beside("ada/manifest.json", below)) == ()
    assert files_beside("manifest.json", FILES) == FILES
    elsewhere = files_beside("ada/manifest.json", {**below, "capture.pcap": b"another"})
    assert manifest_problems(manifest, elsewhere) == ("../capture.pcap is not named in manifest.json",)


HOSTILE = [
    b"",
    b"\xff\xfe{",
    b"[" * 100_000,
    b'{"schema": "tcp-lab/manifest/v1", "files": ' + b'{"a":' * 100_000,
    b"9" * 10_000,
    b'{"schema": "tcp-lab/manifest/v1", "files": {"run.json": 1e999}, "x": ' + b"9" * 5000 + b"}",
    b'{"schema": "tcp-lab/manifest/v1", "files": [1]}',
    b'{"schema": "tcp-lab/manifest/v1"}',
    b'{"schema": 1, "files": {}}',
    b'{"schema": "tcp-lab/manifest/v2", "files": {}}',
    b"[]",
    b"null",
    b" " * (1 << 21),
]


@pytest.mark.parametrize("manifest", HOSTILE)
def test_a_hostile_manifest_is_a_problem(manifest: bytes) -> None:
    """Deep, huge or of wrong types: one line, never an error; and not signed, whatever its signature."""
    (said,) = manifest_problems(manifest, {})
    assert said == "manifest.json is not a manifest of schema tcp-lab/manifest/v1"
    got = provenance_of("ada", lab="handshake", manifest=manifest, signature="valid")
    assert (got.kind, [flag.kind for flag in got.flags]) == ("none", ["manifest-mismatch"])


@given(JSON, st.dictionaries(st.sampled_from(["a", "run.json"]), JSON))
def test_any_manifest_is_told_in_few_printable_lines(document: Any, files: dict[str, Any]) -> None:
    """Total: whatever JSON it is."""
    whole = {"schema": "tcp-lab/manifest/v1", "files": files, "student": document, "lab": document}
    manifest = json.dumps(whole).encode()
    problems = manifest_problems(manifest, {"run.json": b""})
    assert problems
    assert all(said.isprintable() for said in problems)
    got = provenance_of("ada", lab="handshake", manifest=manifest, files={}, run_document=document, signature="valid")
    assert got.kind == "none"
    assert all(flag.message.isprintable() for flag in got.flags)


def test_many_problems_are_not_told_one_by_one() -> None:
    """Bounded."""
    manifest = make_manifest("handshake", "ada", None, {f"{n}.pcap": b"" for n in range(1000)})
    problems = manifest_problems(manifest, {})
    assert len(problems) == 21
    assert "980 more" in problems[-1]


# -- all together ----------------------------------------------------------------------------------------------------


def of(**changed: Any) -> Provenance:
    """Ada's submission, with nothing that shows it but what is changed."""
    given = {"expected_nonce": OWN, "nonces_of_others": {BOBS: "bob"}, "files": FILES, **changed}
    return provenance_of("ada", lab="handshake", **given)


def run_json(**assignment: Any) -> dict[str, Any]:
    return {"assignment": {"course": "tcp-lab", "lab": "handshake", "student": "ada", "nonce": OWN, **assignment}}


def kinds(got: Provenance) -> list[str]:
    return [flag.kind for flag in got.flags]


MANIFEST = make_manifest("handshake", "ada", OWN, FILES)
SIGNED: dict[str, Any] = {"manifest": MANIFEST, "signature": "valid"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "none"),
        ({"run_document": run_json()}, "run"),
        ({"run_document": run_json(), **SIGNED}, "signed"),
        (SIGNED, "signed"),
        ({"run_document": run_json(), **SIGNED, "banner_nonces": (OWN,)}, "wire"),
        ({"banner_nonces": (OWN,)}, "wire"),
        ({"manifest": MANIFEST}, "none"),
        ({"manifest": MANIFEST, "signature": "unchecked"}, "none"),
        (
            {"expected_nonce": None, "nonces_of_others": None, "banner_nonces": (OWN,), "run_document": run_json()},
            "none",
        ),
        ({"signature": "valid"}, "none"),
    ],
)
def test_the_strongest_witness_counts(given: dict[str, Any], kind: str) -> None:
    """On the wire, signed, in run.json, none; and nothing to flag."""
    assert of(**given) == Provenance(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "flag", "says", "kind"),
    [
        ({"banner_nonces": (BOBS,)}, "other-nonce", "banner in the capture has the nonce of bob", "none"),
        ({"banner_nonces": (BOBS,), **SIGNED}, "other-nonce", "has the nonce of bob", "signed"),
        ({"banner_nonces": (OWN, BOBS)}, "other-nonce", "has the nonce of bob", "wire"),
        ({"run_document": run_json(nonce=BOBS)}, "other-nonce", "run.json has the nonce of bob", "none"),
        ({"banner_nonces": (NOBODYS,)}, "unknown-nonce", NOBODYS, "none"),
        ({"run_document": run_json(nonce="\x1b" * 999)}, "unknown-nonce", "nobody on the roster", "none"),
        ({"expected_nonce": None, "banner_nonces": (BOBS,)}, "other-nonce", "of bob", "none"),
        ({"run_document": run_json(student="bob")}, "other-student", "run.json was made for the student bob", "run"),
        ({"run_document": run_json(lab="other")}, "other-lab", "run.json was made for the lab other", "run"),
        ({"manifest": MANIFEST, "signature": "other-key"}, "bad-signature", "not by a key that is enrolled", "none"),
        ({"manifest": MANIFEST, "signature": "damaged"}, "bad-signature", "is not a signature of this", "none"),
        ({**SIGNED, "files": {**FILES, "run.json": b""}}, "manifest-mismatch", "run.json is not the file", "none"),
        (
            {**SIGNED, "manifest": make_manifest("handshake", "bob", None, FILES)},
            "other-student",
            "manifest.json was made for the student bob",
            "none",
        ),
        (
            {**SIGNED, "manifest": make_manifest("other", "ada", None, FILES)},
            "other-lab",
            "manifest.json was made for the lab other",
            "none",
        ),
    ],
)
def test_what_does_not_fit_is_flagged(given: dict[str, Any], flag: str, says: str, kind: str) -> None:
    """One flag, in words that name whom it concerns."""
    got = of(**given)
    assert kinds(got) == [flag]
    assert says in got.flags[0].message
    assert got.flags[0].message.isprintable()
    assert len(got.flags[0].message) <= 300
    assert got.kind == kind


@pytest.mark.parametrize(
    "document", [None, 3, [], {}, {"assignment": 3}, {"assignment": {"nonce": [1], "student": {}}}]
)
def test_a_run_json_of_any_type_shows_nothing(document: Any) -> None:
    """It may hold anything."""
    assert of(run_document=document) == Provenance("none")


@pytest.mark.parametrize("signature", ["valid", "other-key", "damaged", "unchecked", "none"])
def test_no_signature_is_stronger_than_the_wire(signature: SignatureState) -> None:
    """The nonce on the wire is the strongest there is."""
    assert of(banner_nonces=(OWN,), manifest=MANIFEST, signature=signature).kind == "wire"
