"""Where a submission comes from: what its nonces, its manifest and its signature say. Pure: bytes in, flags out."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import one_line
from harness.grading.graded import Flag
from harness.grading.nonces import find_nonces
from harness.runs import assignment_in, dump_json
from harness.tcp.conversation import Conversation, NotShown

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
SCHEMA = "tcp-lab/manifest/v1"
MAX_MANIFEST = 1 << 20  # bytes
_MOST_PROBLEMS = 20
_MOST_SEGMENTS = 64  # an sshd's banner comes in one; who sends it byte by byte has it read so far
_MOST_BANNER = 8192  # bytes: RFC 4253 §4.2 lets other lines stand before it

SignatureState = Literal["valid", "other-key", "damaged", "unchecked", "none"]
Kind = Literal["wire", "signed", "run", "none"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a submission comes from.

    Attributes:
        kind: the strongest that holds: "wire" (the student's nonce in the sshd's banner), "signed" (all files, by the
            student's enrolled key), "run" (the nonce in run.json only) or "none".
        flags: what does not fit: "other-nonce", "unknown-nonce", "other-student", "other-lab", "bad-signature",
            "manifest-mismatch".
    """

    kind: Kind
    flags: tuple[Flag, ...] = ()


def banner_nonces(conversation: Conversation) -> tuple[str, ...]:
    """The nonces in the responder's SSH identification (RFC 4253 §4.2); none if the capture does not hold its payload.

    The banner may have come in several segments, sent again and out of order. Of bytes sent twice the first count.
    """
    stream, stop = b"", None
    try:
        data = conversation.responder_stream.data[:_MOST_SEGMENTS]
        for segment in sorted(data, key=lambda one: one.relative[0]):
            begin, payload = segment.relative[0], segment.payload
            stop = begin if stop is None else stop
            if begin > stop or len(stream) > _MOST_BANNER:
                break
            stream += payload[stop - begin :]
            stop = max(stop, begin + len(payload))
            if b"\n" in payload and _identification(stream[: stream.rfind(b"\n")]):
                break  # the line is whole: what follows cannot change it
    except NotShown:
        pass  # what came before counts
    return find_nonces(_identification(stream[:_MOST_BANNER]))


def _identification(stream: bytes) -> bytes:
    """The first line that begins with SSH-, as far as it is there."""
    return next((line for line in stream.split(b"\n") if line.startswith(b"SSH-")), b"")


# -- the manifest ----------------------------------------------------------------------------------------------------


def make_manifest(lab: str, student: str, nonce: str | None, files: Mapping[str, bytes]) -> bytes:
    """manifest.json: whose submission this is, and the SHA-256 of each file."""
    document = {
        "schema": SCHEMA,
        "lab": lab,
        "student": student,
        **({"nonce": nonce} if nonce else {}),
        "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }
    return dump_json(document).encode()


def read_manifest(manifest: bytes) -> dict[str, Any] | None:
    """The document of a manifest.json from anywhere; None if it is not one."""
    if len(manifest) > MAX_MANIFEST:
        return None
    try:
        document = json.loads(manifest.decode())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("schema") == SCHEMA else None


def files_beside(manifest: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What was handed in, by its path from the manifest's folder, as the manifest names it.

    Args:
        manifest: the manifest's own path.
        files: all that was handed in, by path.
    """
    folder = manifest.removesuffix(MANIFEST)
    return {
        path.removeprefix(folder) if path.startswith(folder) else f"../{path}": data for path, data in files.items()
    }


def manifest_problems(manifest: bytes, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """What a manifest says that is not so, a printable line each, at most some twenty; empty if all fits.

    Args:
        manifest: the bytes of manifest.json, from anywhere.
        files: what was handed in, by name; the manifest and its signature need not be among them.
    """
    document = read_manifest(manifest)
    named = document.get("files") if document else None
    if not isinstance(named, dict):
        return (f"{MANIFEST} is not a manifest of schema {SCHEMA}",)
    problems = []
    handed_in = {name: data for name, data in files.items() if name not in {MANIFEST, SIGNATURE}}
    for name in sorted(named.keys() | handed_in.keys()):
        shown = one_line(name, 80)
        if name not in handed_in:
            problems.append(f"{MANIFEST} names {shown}, which was not handed in")
        elif name not in named:
            problems.append(f"{shown} is not named in {MANIFEST}")
        elif named[name] != hashlib.sha256(handed_in[name]).hexdigest():
            problems.append(f"{shown} is not the file that {MANIFEST} names: its SHA-256 differs")
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"… and {len(problems) - _MOST_PROBLEMS} more files that do not fit {MANIFEST}"]
    return tuple(problems)


# -- all together ----------------------------------------------------------------------------------------------------


def provenance_of(  # noqa: PLR0913 - each is a witness of its own
    student: str,
    *,
    lab: str,
    banner_nonces: tuple[str, ...] = (),
    run_document: Any = None,
    manifest: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    signature: SignatureState = "none",
    expected_nonce: str | None = None,
    nonces_of_others: Mapping[str, str] | None = None,
) -> Provenance:
    """Where a student's submission comes from.

    Args:
        student: who handed it in.
        lab: for which lab.
        banner_nonces: those of the capture: see `banner_nonces`.
        run_document: run.json from anywhere, parsed; None if there is none.
        manifest: manifest.json from anywhere; None if there is none.
        files: what was handed in, by name, to be held against the manifest.
        signature: what `harness.grading.signatures.verify` said of the manifest's signature.
        expected_nonce: the student's own; None if it is not known. Without it and the others', nonces flag nothing.
        nonces_of_others: whose each other nonce of this course and lab is.
    """
    claimed = assignment_in(run_document)
    in_run = claimed.get("nonce")
    flags: list[Flag] = []
    if expected_nonce is not None or nonces_of_others:
        others = nonces_of_others or {}
        for where, nonces in (("the sshd's banner in the capture", banner_nonces), ("run.json", (in_run,))):
            flags += _strange(where, [nonce for nonce in nonces if nonce and nonce != expected_nonce], others)
    flags += _not_ours("run.json", claimed, student, lab)
    whole = False
    if manifest is not None:
        strange = [Flag("manifest-mismatch", problem) for problem in manifest_problems(manifest, files or {})]
        strange += _not_ours(MANIFEST, read_manifest(manifest) or {}, student, lab)
        flags += strange
        whole = not strange
    if signature == "other-key":
        flags.append(Flag("bad-signature", f"{MANIFEST} is signed, but not by a key that is enrolled for {student}"))
    elif signature == "damaged":
        flags.append(Flag("bad-signature", f"{SIGNATURE} is not a signature of this {MANIFEST}"))
    kind: Kind = "none"
    if expected_nonce is not None and expected_nonce in banner_nonces:
        kind = "wire"
    elif signature == "valid" and whole:
        kind = "signed"
    elif expected_nonce is not None and expected_nonce == in_run:
        kind = "run"
    return Provenance(kind, tuple(dict.fromkeys(flags)))


def _strange(where: str, nonces: list[str], others: Mapping[str, str]) -> Iterator[Flag]:
    """Flags for nonces that are not the student's."""
    for nonce in nonces:
        if nonce in others:
            yield Flag("other-nonce", one_line(f"{where} has the nonce of {others[nonce]}"))
        else:
            yield Flag("unknown-nonce", one_line(f"{where} has a nonce of nobody on the roster: {nonce}", 160))


def _not_ours(where: str, said: Mapping[str, Any], student: str, lab: str) -> Iterator[Flag]:
    """Flags for a document that names another student or another lab."""
    for key, own in (("student", student), ("lab", lab)):
        if key in said and said[key] != own:
            found = said[key] if isinstance(said[key], str) else f"a {type(said[key]).__name__}"
            yield Flag(f"other-{key}", one_line(f"{where} was made for the {key} {found}, not for {own}", 300))
