"""What one submission holds, and the bounds within which it was opened."""

import hashlib
from dataclasses import dataclass

PROBLEM_LINES = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What opening one submission may cost at most.

    Attributes:
        members: files, folders, links and droppings together.
        total_bytes: bytes that come out of the archive, be they kept or not.
        file_bytes: bytes of one file.
        path_length: characters of a path.
        depth: folders that a file may stand in.
    """

    members: int = 1_000
    total_bytes: int = 256 << 20
    file_bytes: int = 128 << 20
    path_length: int = 400
    depth: int = 16


@dataclass(frozen=True, slots=True)
class Contents:
    """What one submission holds.

    Attributes:
        files: the bytes of each file by its relative posix path, which is printable and in NFC.
        problems: one printable line for each thing that was left out, sorted; at most 20, then "… and N more".
    """

    files: dict[str, bytes]
    problems: tuple[str, ...] = ()


def content_hash(contents: Contents) -> str:
    """SHA-256 in hex of all files and problems: equal for equal contents, in whatever order an archive has them.

    Each text and each file goes in with its length before it, so that no two different contents give the same bytes.
    """
    digest = hashlib.sha256(b"tcp-lab/contents/v1\n")

    def add(data: bytes) -> None:
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)

    add(str(len(contents.files)).encode())
    for path in sorted(contents.files):
        add(path.encode())
        add(contents.files[path])
    for problem in sorted(contents.problems):
        add(problem.encode())
    return digest.hexdigest()
