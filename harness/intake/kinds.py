"""What a file is by its name and its first bytes."""

import re

_CAPTURE_ENDS = r"\.(?:pcapng|pcap|cap|dmp|txt|log)(?:\.gz)?"
CAPTURE = re.compile(rf"(?P<stem>.*){_CAPTURE_ENDS}", re.IGNORECASE | re.DOTALL)
ARCHIVE = re.compile(
    r"(?P<stem>.+)\.(?:zip|tar|tgz|tbz2?|txz|tar\.(?:gz|bz2|xz)|7z|rar|zst)", re.IGNORECASE | re.DOTALL
)
DOCUMENT = re.compile(r"(?P<stem>.+)\.(?:pdf|docx?|odt|rtf|html?|png|jpe?g)", re.IGNORECASE | re.DOTALL)
# What a run folder has beside its capture: none is a capture of its own where there is one.
_TEXTS = ("listing", "timeline", "report", "connect", "disturbed", "exit")
BESIDE = frozenset({"annotated.pcapng", *(f"{name}.txt" for name in _TEXTS)})
_BESIDE = "|".join(sorted(map(re.escape, BESIDE)))
# A part of a submission, by its name or behind the student's: answers.yaml, alice.answers.yaml, alice_answers.yaml
PART = re.compile(
    rf"(?:(?P<stem>.+)[._ -])?(?P<part>answers\.ya?ml|(?:capture|handshake|teardown){_CAPTURE_ENDS}|{_BESIDE}"
    r"|(?:run|states|results)\.json|manifest\.json(?:\.sig)?)",
    re.IGNORECASE | re.DOTALL,
)
_MAGICS = tuple(bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a", "1f8b"))


def may_be_capture(begin: bytes) -> bool:
    """Whether the first bytes are pcap's, pcapng's or gzip's."""
    return begin.startswith(_MAGICS)
