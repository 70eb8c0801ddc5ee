"""Archives for the tests of harness.intake, good and hostile."""

import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

CAPTURE = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000") + b"frames"
PCAPNG = bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000")
LISTING = (
    b"12:34:56.789012 IP 10.0.0.1.40000 > 10.0.0.2.22: Flags [S], seq 1, win 64240, options [mss 1460], length 0\n"
)
FOLDER_MODE, LINK_MODE, FIFO_MODE = 0o040755, 0o120777, 0o010644


def zip_of(files: Iterable[tuple[str, bytes]], mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files in this order; names may be there twice."""
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, (2024, 5, 6, 12, 0, 0))
            info.filename = name  # ZipInfo cuts and changes names
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, method
            archive.writestr(info, data)
    return out.getvalue()


def tar_of(files: Iterable[tuple[str, bytes]], how: str = "", form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these files; *how* is "", "gz", "bz2" or "xz"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{how}", format=form) as archive:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_member(name: str, kind: bytes, target: str = "") -> bytes:
    """A tar of one member of any kind."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return out.getvalue()


def streamed_zip(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip as written to a pipe: the sizes follow each member."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return bytes(pipe.data)


def overlapping_zip(times: int) -> bytes:
    """A zip whose many entries all are the same bytes, as in a bomb that claims little."""
    data = b"\0" * 1000
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compress.compress(data) + compress.flush()
    numbers = (zlib.crc32(data), len(packed), len(data))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, *numbers, 1, 0) + b"a" + packed
    directory = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 33, *numbers, 7, 0, 0, 0, 0, 0, 0) + b"%07d" % number
        for number in range(times)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, times & 0xFFFF, times & 0xFFFF, len(directory), len(local), 0)
    return local + directory + end


def zip64_of(name: str, data: bytes) -> bytes:
    """A zip of one stored file, all of whose numbers stand in the zip64 fields, as programs may write them."""
    none = 0xFFFFFFFF
    raw, crc = name.encode(), zlib.crc32(data)
    extra = struct.pack("<2H2Q", 1, 16, len(data), len(data))
    local = (
        struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 33, crc, none, none, len(raw), len(extra)) + raw + extra + data
    )
    extra = struct.pack("<2H3Q", 1, 24, len(data), len(data), 0)
    numbers = (crc, none, none, len(raw), len(extra), 0, 0, 0, 0, none)
    directory = struct.pack("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 33, *numbers) + raw + extra
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), len(local))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(local) + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, none, none, 0)
    return local + directory + end64 + locator + end


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
