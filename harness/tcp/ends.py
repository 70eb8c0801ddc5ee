"""The two ends of a connection, in RFC 9293's sense: who opens actively, and who answers."""

from typing import Literal

End = Literal["initiator", "responder"]
ENDS: tuple[End, End] = ("initiator", "responder")


def other(end: End) -> End:
    """The other end."""
    return "responder" if end == "initiator" else "initiator"
