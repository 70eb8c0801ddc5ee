"""Names from strangers: paths of members, students' names, and names to show in a line."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

STUDENT_CHARACTERS = 100
_STUDENT_BYTES = 200  # a folder's name has at most 255 bytes on common file systems, and gets a suffix
_SHOWN = 120
_DRIVE = re.compile(r"[A-Za-z]:")
_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|]')
_DROPPINGS = frozenset({"__macosx", ".ds_store", "thumbs.db", "desktop.ini"})


class Refused(Exception):  # noqa: N818 # it is no error: it says why one member was left out
    """Why one member is left out; the text goes behind the member's name."""


def printable(text: str, instead: str = "_") -> str:
    """The text with every character replaced that is not printable: controls, escapes, bidi controls, half pairs."""
    return text if text.isprintable() else "".join(c if c.isprintable() else instead for c in text)


def shown(name: str) -> str:
    """A stranger's name as it may stand in a line."""
    name = printable(name[: _SHOWN + 1], "?")
    return name if len(name) <= _SHOWN else name[: _SHOWN - 1] + "…"


def is_dropping(path: str) -> bool:
    """Whether a member is nothing that the student made, but left there by macOS or Windows."""
    parts = path.replace("\\", "/").split("/")
    return any(part.casefold() in _DROPPINGS or part.startswith("._") for part in parts)


def safe_path(name: str, longest: int, depth: int) -> str:
    """A member's name as a relative posix path, printable and in NFC, that leads nowhere else.

    Args:
        name: as the archive has it; backslashes separate folders too, as old Windows programs write them.
        longest: the most characters.
        depth: the most folders.

    Raises:
        Refused: it is absolute, climbs, is empty, too long or too deep.
    """
    if len(name) > 4 * longest:  # before any work on it
        raise Refused(f"its path is longer than {longest} characters")
    text = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    # A drive within the path would be at its beginning once the folder around it is left out.
    if text.startswith("/") or any(map(_DRIVE.match, parts)):
        raise Refused("its path is absolute; paths must be relative")
    if ".." in parts:
        raise Refused("its path leads out of the submission")
    if not parts:
        raise Refused("it has no name")
    path = printable("/".join(parts))
    if len(path) > longest:
        raise Refused(f"its path is longer than {longest} characters")
    if len(parts) - 1 > depth:
        raise Refused(f"it stands in more than {depth} folders")
    return path


def student_name(text: str) -> str:
    """A student's name that may be a folder's: printable, NFC, no separators, not "." or "..", bounded in length."""
    text = unicodedata.normalize("NFC", text[: 4 * STUDENT_CHARACTERS])
    text = " ".join(_NOT_IN_NAMES.sub("_", printable(text)).split())
    text = _cut(text, STUDENT_CHARACTERS).strip(" .")
    if text.startswith("-"):  # no name that a command would take for an option
        text = "_" + text[1:]
    return text or "unnamed"


def _cut(text: str, characters: int) -> str:
    return text[:characters].encode()[:_STUDENT_BYTES].decode(errors="ignore")


def unique_names(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Names that stay different where upper and lower case are one.

    Args:
        wanted: for each student the name, as `student_name` makes it, and the number that the platform knows them by,
            or "". Those who share a name get the number as a suffix, or else all but the first -2, -3 ...

    Returns:
        A name for each, at most 100 characters long.
    """
    wanted = list(wanted)
    count = Counter(name.casefold() for name, _ in wanted)
    taken = {key for key, times in count.items() if times == 1}
    number: Counter[str] = Counter()
    names = []
    for name, known_as in wanted:
        key, found = name.casefold(), name
        if count[key] > 1:
            if known_as:
                found = _with_suffix(name, known_as)
            while found.casefold() in taken:
                number[key] += 1
                found = _with_suffix(name, str(number[key] + 1))
            taken.add(found.casefold())
        names.append(found)
    return names


def _with_suffix(name: str, suffix: str) -> str:
    suffix = "-" + student_name(suffix)[:30]
    return _cut(name, STUDENT_CHARACTERS - len(suffix)).rstrip(" .") + suffix
