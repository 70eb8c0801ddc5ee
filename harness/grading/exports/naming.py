"""File names of foreign names."""

import hashlib
from urllib.parse import quote

_LONGEST = 100


def file_name(name: str) -> str:
    """A student's or lab's name as one part of a path; different names never share one.

    Letters, digits, "_", "-", "@" and "." stay; the rest is percent-encoded as in a URL (RFC 3986 §2.1). A name that is
    empty, long, or begins or ends with a dot is cut, and carries the first half of its SHA-256 behind a "~", which no
    other name has.
    """
    encoded = name.encode("utf-8", "surrogatepass")
    safe = quote(encoded, safe="@").replace("~", "%7E")
    if 0 < len(safe) <= _LONGEST and not safe.startswith(".") and not safe.endswith("."):
        return safe
    return f"{safe[:_LONGEST].strip('.')}~{hashlib.sha256(encoded).hexdigest()[:32]}"
