r"""RFC 9293's figure 5 as one total table: every state × every control event.

The events are seen from one end of a connection. A capture shows what an end *sends*; what it has *received* must be
inferred (see `walk.py`), and only then does an event happen to it.

    snd SYN      it sends a SYN without ACK            rcv SYN      it has received the peer's SYN
    snd SYN-ACK  it sends a SYN with ACK               rcv SYN-ACK  … a SYN that acknowledges its own
    snd FIN      it sends a FIN                        rcv ACK/SYN  … the ACK of its own SYN
    snd RST      it sends a RST                        rcv FIN      … the peer's FIN, with all before it
    2MSL         its TIME-WAIT is over                 rcv ACK/FIN  … the ACK of its own FIN
                                                       rcv RST      … an acceptable RST

A cell is the next state, `=` (legal, the state stays: a repetition, or something the RFC answers without changing
state, such as a challenge ACK), or `!name` (illegal: an end that follows the RFC never does this in this state; the
state stays and the name is kept).
"""

from enum import StrEnum


class State(StrEnum):
    """The eleven states of RFC 9293 §3.3.2."""

    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"


class Event(StrEnum):
    """The control events, named as in the table's head."""

    SND_SYN = "snd-SYN"
    SND_SYN_ACK = "snd-SYN-ACK"
    RCV_SYN = "rcv-SYN"
    RCV_SYN_ACK = "rcv-SYN-ACK"
    RCV_ACK_OF_SYN = "rcv-ACK/SYN"
    SND_FIN = "snd-FIN"
    RCV_FIN = "rcv-FIN"
    RCV_ACK_OF_FIN = "rcv-ACK/FIN"
    SND_RST = "snd-RST"
    RCV_RST = "rcv-RST"
    TIMEOUT = "2MSL"


_FIGURE_5 = """
state         snd-SYN       snd-SYN-ACK      rcv-SYN       rcv-SYN-ACK   rcv-ACK/SYN       snd-FIN          rcv-FIN     rcv-ACK/FIN      snd-RST  rcv-RST  2MSL
CLOSED        SYN-SENT      !syn-ack-unasked =             =             !ack-of-no-syn    !fin-when-closed =           !ack-of-no-fin   =        =        =
LISTEN        SYN-SENT      !syn-ack-unasked SYN-RECEIVED  =             !ack-of-no-syn    !fin-when-closed =           !ack-of-no-fin   =        =        =
SYN-SENT      =             !syn-ack-unasked SYN-RECEIVED  ESTABLISHED   =                 !fin-before-open =           !ack-of-no-fin   CLOSED   CLOSED   =
SYN-RECEIVED  =             =                =             ESTABLISHED   ESTABLISHED       FIN-WAIT-1       CLOSE-WAIT  !ack-of-no-fin   CLOSED   LISTEN   =
ESTABLISHED   !syn-when-open =               =             =             =                 FIN-WAIT-1       CLOSE-WAIT  !ack-of-no-fin   CLOSED   CLOSED   =
FIN-WAIT-1    !syn-when-open !syn-when-open  =             =             =                 =                CLOSING     FIN-WAIT-2       CLOSED   CLOSED   =
FIN-WAIT-2    !syn-when-open !syn-when-open  =             =             =                 =                TIME-WAIT   =                CLOSED   CLOSED   =
CLOSE-WAIT    !syn-when-open !syn-when-open  =             =             =                 LAST-ACK         =           !ack-of-no-fin   CLOSED   CLOSED   =
CLOSING       !syn-when-open !syn-when-open  =             =             =                 =                =           TIME-WAIT        CLOSED   CLOSED   =
LAST-ACK      !syn-when-open !syn-when-open  =             =             =                 =                =           CLOSED           CLOSED   CLOSED   =
TIME-WAIT     !syn-when-open !syn-when-open  =             =             =                 =                =           =                CLOSED   CLOSED   CLOSED
"""


def _parse(text: str) -> dict[tuple[State, Event], State | str]:
    head, *rows = (line.split() for line in text.strip().splitlines())
    events = [Event(name) for name in head[1:]]
    table: dict[tuple[State, Event], State | str] = {}
    for name, *cells in rows:
        state = State(name)
        for event, cell in zip(events, cells, strict=True):
            table[state, event] = state if cell == "=" else cell[1:] if cell.startswith("!") else State(cell)
    return table


TABLE = _parse(_FIGURE_5)


def step(state: State, event: Event) -> tuple[State, str | None]:
    """The next state, and the name of what was illegal about the event in this state (None: nothing)."""
    cell = TABLE[state, event]
    return (cell, None) if isinstance(cell, State) else (state, cell)
