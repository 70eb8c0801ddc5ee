"""Shapes of connections: what either end does, what is lost, and the states that the kernel must have gone through."""

from harness.traffic.shapes import BOTH_WAYS, OPEN, Loss, Shape, Side

CLOSE_I = "i: close, = FIN-WAIT-2; r: eof, close, = gone; i: = TIME-WAIT; "
CLOSE_R = "r: close, = FIN-WAIT-2; i: eof, close, = gone; r: = TIME-WAIT; "
SOON_I = "i: close; r: eof, close, = gone; i: = TIME-WAIT; "  # the other end waits for nothing but the FIN
SOON_R = "r: close; i: eof, close, = gone; r: = TIME-WAIT; "
I_OPEN, R_OPEN, CROSSED = "CL SS ES ", "LI SR ES ", "CL SS SR ES "
ACTIVE, PASSIVE, BOTH = "F1 F2 TW", "CW LA CL", "F1 CG TW"
I_FIRST, R_FIRST = (I_OPEN + ACTIVE, R_OPEN + PASSIVE), (I_OPEN + PASSIVE, R_OPEN + ACTIVE)


def lost(sender: Side, kind: str, times: int = 1) -> Loss:
    """Lost on the way: the captures show it."""
    return Loss(sender, kind, times)


def never(sender: Side, kind: str, times: int = 1, *, surely: bool = True) -> Loss:
    """Lost before it was on the way: no capture shows it."""
    return Loss(sender, kind, times, seen=False, surely=surely)


SHAPES = [
    # -- in order
    Shape("open", OPEN, I_OPEN, R_OPEN),
    Shape("half-closed, initiator", OPEN + "i: shut, = FIN-WAIT-2; r: eof", I_OPEN + "F1 F2", R_OPEN + "CW"),
    Shape("half-closed, responder", OPEN + "r: shut, = FIN-WAIT-2; i: eof", I_OPEN + "CW", R_OPEN + "F1 F2"),
    Shape("half-closed, held by no process", OPEN + "i: close, = FIN-WAIT-2; r: eof", I_OPEN + "F1 F2", R_OPEN + "CW"),
    Shape("four segments, initiator", OPEN + "r: quick; " + CLOSE_I, *I_FIRST, times=10, close="four-segment"),
    Shape("four segments, responder", OPEN + "i: quick; " + CLOSE_R, *R_FIRST, times=10, close="four-segment"),
    Shape(
        "three segments, initiator",
        OPEN + "r: slow; " + SOON_I,
        *I_FIRST,
        losses=(never("r", "ack-of-fin", 0, surely=False),),
        times=10,
        close="three-segment",
    ),
    Shape(
        "three segments, responder",
        OPEN + "i: slow; " + SOON_R,
        *R_FIRST,
        losses=(never("i", "ack-of-fin", 0, surely=False),),
        times=10,
        close="three-segment",
    ),
    Shape("request and answer", OPEN + "i: send 300; r: read 300, send 200; i: read 200; " + CLOSE_I, *I_FIRST),
    Shape("banner first", OPEN + "r: send 40; i: read 40, send 50; r: read 50; " + CLOSE_R, *R_FIRST),
    Shape(
        "much both ways",
        OPEN + "i: send 60000; r: read 60000, send 60000; i: read 60000; " + CLOSE_R,
        *R_FIRST,
    ),
    Shape(
        "data after the first FIN, initiator",
        OPEN + "i: shut, = FIN-WAIT-2; r: eof, send 5000; i: read 5000; r: close, = gone; i: eof, = TIME-WAIT, close",
        *I_FIRST,
    ),
    Shape(
        "data after the first FIN, responder",
        OPEN + "r: shut, = FIN-WAIT-2; i: eof, send 5000; r: read 5000; i: close, = gone; r: eof, = TIME-WAIT, close",
        *R_FIRST,
    ),
    Shape(
        "FIN with data, initiator", OPEN + "i: cork, send 700, close; r: drain, close, = gone; i: = TIME-WAIT", *I_FIRST
    ),
    Shape(
        "FIN with data, responder", OPEN + "r: cork, send 700, close; i: drain, close, = gone; r: = TIME-WAIT", *R_FIRST
    ),
    Shape(
        "FIN waits for the window",
        "r: listen, small; i: connect, = ESTABLISHED; r: accept; "
        "i: small, fill, close, = FIN-WAIT-1; r: drain, close, = gone; i: = TIME-WAIT",
        *I_FIRST,
    ),
    Shape(
        "ACK of the SYN-ACK not taken before data (TCP_DEFER_ACCEPT)",
        "r: listen, defer; i: connect, = ESTABLISHED; r: = SYN-RECEIVED; i: send 100; r: accept, read 100; " + CLOSE_R,
        *R_FIRST,
    ),
    Shape(
        "data in the SYN (TCP_FASTOPEN)",
        "r: listen; i: fast-open 100, = ESTABLISHED; r: accept, read 100; " + CLOSE_I,
        *I_FIRST,
    ),
    Shape(
        "closed in SYN-RECEIVED (TCP_FASTOPEN)",
        "r: listen; i: fast-open 100, = ESTABLISHED; r: accept, read 100, = SYN-RECEIVED; " + CLOSE_R,
        I_OPEN + PASSIVE,
        "LI SR " + ACTIVE,
        losses=(never("i", "ack", 2),),
    ),
    # -- at the same time
    *(
        Shape(
            f"simultaneous close, {first} first on the way",
            f"{OPEN}|i: close; r: close|{second}: = CLOSING|i: = TIME-WAIT; r: = TIME-WAIT",
            I_OPEN + BOTH,
            R_OPEN + BOTH,
            released_first=first,
            times=10,
            close="simultaneous",
        )
        for first, second in BOTH_WAYS
    ),
    Shape(
        "simultaneous close with data on the way",
        OPEN + "|i: send 100, shut; r: send 100, shut|r: read 100, = CLOSING|i: read 100, = TIME-WAIT; r: = TIME-WAIT",
        I_OPEN + BOTH,
        R_OPEN + BOTH,
        released_first="i",
    ),
    Shape(
        "simultaneous close with data that nobody takes",
        OPEN + "|i: send 100, close; r: send 100, close|r: = gone|i: = gone",
        I_OPEN + "F1 CL",
        R_OPEN + "F1 CL",
        released_first="i",
    ),
    Shape(
        "simultaneous close, initiator's ACK lost",
        OPEN + "|i: close; r: close|r: = CLOSING|i: = TIME-WAIT; r: = TIME-WAIT",
        I_OPEN + BOTH,
        R_OPEN + BOTH,
        losses=(lost("i", "ack-of-fin"),),
        released_first="i",
    ),
    Shape(
        "simultaneous close, responder's ACK lost",
        OPEN + "|i: close; r: close|r: = CLOSING|i: = TIME-WAIT; r: = TIME-WAIT",
        I_OPEN + BOTH,
        R_OPEN + BOTH,
        losses=(lost("r", "ack-of-fin"),),
        released_first="i",
    ),
    *(
        Shape(
            f"simultaneous open, {first} first on the way, {how}",
            f"|i: {connect}; r: {connect}|{second}: = SYN-RECEIVED|i: = ESTABLISHED; r: = ESTABLISHED; {close}",
            CROSSED + states[0],
            CROSSED + states[1],
            losses=losses,
            released_first=first,
        )
        for first, second in BOTH_WAYS
        for how, connect, close, states, losses in (
            ("closed by the initiator", "connect", CLOSE_I, (ACTIVE, PASSIVE), ()),
            ("closed by the responder", "connect", CLOSE_R, (PASSIVE, ACTIVE), ()),
            ("aborted", "connect", "i: abort; r: reset", ("CL", "CL"), ()),
            (
                "past 2**32",
                "isn 4294967290",
                "i: send 9; r: read 9, send 9; i: read 9; " + CLOSE_I,
                (ACTIVE, PASSIVE),
                (),
            ),
            ("a SYN-ACK lost", "connect", CLOSE_I, (ACTIVE, PASSIVE), (lost("r", "syn-ack"),)),
        )
    ),
    Shape(
        "responder opens too, its SYN lost",
        "r: connect; i: connect, = ESTABLISHED; r: = ESTABLISHED; " + CLOSE_I,
        I_OPEN + ACTIVE,
        CROSSED + PASSIVE,
        losses=(lost("r", "syn"),),
    ),
    Shape(
        "responder opens too, the initiator's SYN lost",
        "i: connect; r: connect, = ESTABLISHED; i: = ESTABLISHED; " + CLOSE_I,
        CROSSED + ACTIVE,
        I_OPEN + PASSIVE,
        losses=(lost("i", "syn"),),
    ),
    Shape(
        "simultaneous close past 2**32",
        "r: listen; i: isn 4294967294, = ESTABLISHED; r: accept|i: close; r: close|r: = CLOSING|"
        "i: = TIME-WAIT; r: = TIME-WAIT",
        I_OPEN + BOTH,
        R_OPEN + BOTH,
        released_first="i",
        close="simultaneous",
    ),
    Shape(
        "data and FIN cross",
        OPEN + "|i: shut; r: send 500|i: read 500|r: eof, close, = gone; i: = TIME-WAIT",
        *I_FIRST,
        released_first="r",
    ),
    Shape(
        "FIN and abort cross, FIN first",
        OPEN + "|i: abort; r: shut||r: reset",
        I_OPEN + "CL",
        R_OPEN + "F1 CL",
        released_first="r",
    ),
    Shape("aborts cross", OPEN + "|i: abort; r: abort||i: = gone", I_OPEN + "CL", R_OPEN + "CL", released_first="i"),
    Shape(
        "TIME-WAIT ended by a RST",
        OPEN + "i: shut, = FIN-WAIT-2; r: eof|r: shut|i: = TIME-WAIT; r: = LAST-ACK, abort, = gone|i: = gone",
        I_OPEN + "F1 F2 TW CL",
        R_OPEN + PASSIVE,
        released_first="r",
    ),
    Shape(
        "simultaneous open, closed in SYN-RECEIVED",
        "|i: connect; r: connect|r: = SYN-RECEIVED, close|i: eof, close, = gone; r: = TIME-WAIT",
        CROSSED + PASSIVE,
        "CL SS SR F1 F2 TW",
        released_first="i",
    ),
    Shape(
        "simultaneous open, given up by one",
        "|i: connect; r: connect|r: = SYN-RECEIVED; i: close|r: = gone",
        "CL SS CL",
        "CL SS SR CL",
        released_first="i",
    ),
    # -- aborted
    Shape("abort, initiator", OPEN + "i: abort; r: reset", I_OPEN + "CL", R_OPEN + "CL"),
    Shape("abort, responder", OPEN + "r: abort; i: reset", I_OPEN + "CL", R_OPEN + "CL"),
    Shape(
        "closed with unread data, i", OPEN + "r: send 9; i: arrived 9, close; r: reset", I_OPEN + "CL", R_OPEN + "CL"
    ),
    Shape(
        "closed with unread data, r", OPEN + "i: send 9; r: arrived 9, close; i: reset", I_OPEN + "CL", R_OPEN + "CL"
    ),
    Shape("process killed, initiator", OPEN + "i: own, kill; r: eof, close, = gone; i: = TIME-WAIT", *I_FIRST),
    Shape("process killed, responder", OPEN + "r: own, kill; i: eof, close, = gone; r: = TIME-WAIT", *R_FIRST),
    Shape(
        "process killed with unread data, initiator",
        OPEN + "r: send 9; i: arrived 9, own, kill; r: reset",
        I_OPEN + "CL",
        R_OPEN + "CL",
    ),
    Shape(
        "process killed with unread data, responder",
        OPEN + "i: send 9; r: arrived 9, own, kill; i: reset",
        I_OPEN + "CL",
        R_OPEN + "CL",
    ),
    Shape(
        "never accepted",
        "r: listen; i: connect, = ESTABLISHED; r: = ESTABLISHED, unlisten; i: reset",
        I_OPEN + "CL",
        R_OPEN + "CL",
    ),
    Shape(
        "data for a closed end, initiator",
        OPEN + "i: close, = FIN-WAIT-2; r: eof, send 9; i: = gone; r: reset",
        I_OPEN + "F1 F2 CL",
        R_OPEN + "CW CL",
    ),
    Shape(
        "data for a closed end, responder",
        OPEN + "r: close, = FIN-WAIT-2; i: eof, send 9; r: = gone; i: reset",
        I_OPEN + "CW CL",
        R_OPEN + "F1 F2 CL",
    ),
    Shape(
        "abort in CLOSE-WAIT, responder",
        OPEN + "i: shut, = FIN-WAIT-2; r: abort; i: reset",
        I_OPEN + "F1 F2 CL",
        R_OPEN + "CW CL",
    ),
    Shape(
        "abort in CLOSE-WAIT, initiator",
        OPEN + "r: shut, = FIN-WAIT-2; i: abort; r: reset",
        I_OPEN + "CW CL",
        R_OPEN + "F1 F2 CL",
    ),
    Shape(
        "abort in FIN-WAIT-2, initiator",
        OPEN + "i: shut, = FIN-WAIT-2, abort; r: reset",
        I_OPEN + "F1 F2 CL",
        R_OPEN + "CW CL",
    ),
    Shape(
        "abort in FIN-WAIT-2, responder",
        OPEN + "r: shut, = FIN-WAIT-2, abort; i: reset",
        I_OPEN + "CW CL",
        R_OPEN + "F1 F2 CL",
    ),
    Shape(
        "abort in FIN-WAIT-1, every FIN lost",
        OPEN + "i: shut, = FIN-WAIT-1, abort; r: reset",
        I_OPEN + "F1 CL",
        R_OPEN + "CL",
        losses=(lost("i", "fin", 0),),
    ),
    Shape(
        "RST lost, data after it",
        OPEN + "i: abort; r: send 9, reset",
        I_OPEN + "CL",
        R_OPEN + "CL",
        losses=(lost("i", "rst"),),
    ),
    Shape(
        "RST never sent, FIN after it",
        OPEN + "i: abort; r: shut, reset",
        I_OPEN + "CL",
        R_OPEN + "F1 CL",
        losses=(never("i", "rst"),),
    ),
    Shape(
        "RST in FIN-WAIT-2 never sent, FIN after it",
        OPEN + "i: shut, = FIN-WAIT-2, abort; r: eof, close, = gone",
        I_OPEN + "F1 F2 CL",
        R_OPEN + "CW LA CL",
        losses=(never("i", "rst"),),
    ),
    Shape("forged SYN", OPEN + "i: forge-syn 1000, send 9; r: read 9; " + CLOSE_I, *I_FIRST),  # RFC 5961 §4
    # -- not opened
    Shape("refused", "i: connect, refused", "CL SS CL", "CL", times=10),
    Shape("refused, SYN lost", "i: connect, refused", "CL SS CL", "CL", losses=(lost("i", "syn"),)),
    Shape("refused, RST lost", "i: connect, refused", "CL SS CL", "CL", losses=(lost("r", "rst"),)),
    Shape(
        "every SYN lost", "r: listen; i: connect, = SYN-SENT, aged 1500", "CL SS", "LI", losses=(lost("i", "syn", 0),)
    ),
    Shape(
        "every SYN-ACK lost",
        "r: listen; i: connect; r: = SYN-RECEIVED, aged 1500",
        "CL SS",
        "LI SR",
        losses=(lost("r", "syn-ack", 0),),
    ),
    Shape(
        "given up before the SYN-ACK",
        "r: listen; i: connect, close; r: = SYN-RECEIVED, = gone",
        "CL SS CL",
        "LI SR LI",
        losses=(lost("r", "syn-ack"),),
    ),
    # -- lost
    *(
        Shape(f"{what} {how}", OPEN + close, *states, losses=losses)
        for close, states in ((CLOSE_I, I_FIRST),)
        for what, how, losses in (
            ("SYN", "lost", (lost("i", "syn"),)),
            ("SYN", "lost twice", (lost("i", "syn", 2),)),
            ("SYN", "never sent", (never("i", "syn"),)),
            ("SYN-ACK", "lost", (lost("r", "syn-ack"),)),
            ("SYN-ACK", "lost twice", (lost("r", "syn-ack", 2),)),
            ("SYN-ACK", "never sent", (never("r", "syn-ack"),)),
            ("third segment", "lost", (lost("i", "ack"),)),
            ("third segment", "never sent", (never("i", "ack"),)),
            ("SYN, SYN-ACK and third segment", "lost", (lost("i", "syn"), lost("r", "syn-ack"), lost("i", "ack"))),
        )
    ),
    Shape(
        "third segment lost, data after it",
        "r: listen; i: connect, = ESTABLISHED, send 9; r: accept, read 9; " + CLOSE_R,
        *R_FIRST,
        losses=(lost("i", "ack"),),
    ),
    Shape(
        "third segment lost, FIN after it",
        "r: listen; i: connect, = ESTABLISHED, close; r: accept, eof, close, = gone; i: = TIME-WAIT",
        *I_FIRST,
        losses=(lost("i", "ack"),),
    ),
    *(
        Shape(f"{name} data {how}", OPEN + f"{script}; " + close, *states, losses=losses)
        for name, script, close, states, how, losses in (
            ("initiator's", "i: send 500, acked; r: read 500", CLOSE_I, I_FIRST, "lost", (lost("i", "data"),)),
            ("responder's", "r: send 500, acked; i: read 500", CLOSE_I, I_FIRST, "lost", (lost("r", "data"),)),
            ("initiator's", "i: send 500, acked; r: read 500", CLOSE_R, R_FIRST, "never sent", (never("i", "data"),)),
            ("responder's", "r: send 500, acked; i: read 500", CLOSE_R, R_FIRST, "lost twice", (lost("r", "data", 2),)),
        )
    ),
    Shape(
        "data lost, FIN arrives before it",
        OPEN + "i: send 500, close; r: read 500, eof, close, = gone; i: = TIME-WAIT",
        *I_FIRST,
        losses=(lost("i", "data"),),
    ),
    *(
        Shape(f"{what}, {who} closes", OPEN + close, *(I_FIRST if who == "i" else R_FIRST), losses=losses)
        for who, other in BOTH_WAYS
        for soon, patient in ((SOON_I, CLOSE_I) if who == "i" else (SOON_R, CLOSE_R),)
        for what, close, losses in (
            ("first FIN lost", soon, (lost(who, "fin"),)),
            ("first FIN lost twice", soon, (lost(who, "fin", 2),)),
            ("first FIN never sent", soon, (never(who, "fin"),)),
            ("ACK of the first FIN lost", f"{other}: quick; {patient}", (lost(other, "ack-of-fin"),)),
            ("ACK of the first FIN never sent", f"{other}: quick; {patient}", (never(other, "ack-of-fin"),)),
            (
                "ACK of the first FIN lost, second FIN after it",
                f"{other}: quick; {who}: close; {other}: = CLOSE-WAIT, close, = gone; {who}: = TIME-WAIT",
                (lost(other, "ack-of-fin"),),
            ),
            ("second FIN lost", patient, (lost(other, "fin"),)),
            ("second FIN lost twice", patient, (lost(other, "fin", 2),)),
            ("second FIN never sent", patient, (never(other, "fin"),)),
            ("last ACK lost", patient, (lost(who, "ack-of-fin"),)),
            ("last ACK lost twice", patient, (lost(who, "ack-of-fin", 2),)),
            ("last ACK never sent", patient, (never(who, "ack-of-fin"),)),
            ("both FINs and the last ACK lost", patient, (lost("i", "fin"), lost("r", "fin"), lost(who, "ack-of-fin"))),
        )
    ),
    Shape("every FIN lost", OPEN + "i: close, = FIN-WAIT-1", I_OPEN + "F1", R_OPEN, losses=(lost("i", "fin", 0),)),
    Shape(
        "every second FIN lost",
        OPEN + "i: shut, = FIN-WAIT-2; r: eof, close, = LAST-ACK",
        I_OPEN + "F1 F2",
        R_OPEN + "CW LA",
        losses=(lost("r", "fin", 0),),
    ),
    # -- past 2**32
    *(
        Shape(
            f"past 2**32 {where}",
            f"r: listen; i: isn {isn}, = ESTABLISHED; r: accept; "
            f"i: send 100; r: read 100, send 100; i: read 100; {close}",
            *states,
            losses=losses,
        )
        for where, isn, close, states, losses in (
            ("behind the SYN", 2**32 - 1, CLOSE_I, I_FIRST, ()),
            ("in the data", 2**32 - 50, CLOSE_R, R_FIRST, ()),
            ("at the FIN", 2**32 - 101, CLOSE_I, I_FIRST, ()),
            ("behind the FIN", 2**32 - 102, CLOSE_I, I_FIRST, ()),
            ("in lost data", 2**32 - 50, CLOSE_I, I_FIRST, (lost("i", "data"),)),
            ("in a lost SYN", 2**32 - 1, CLOSE_R, R_FIRST, (lost("i", "syn"),)),
            ("in a lost FIN", 2**32 - 102, SOON_I, I_FIRST, (lost("i", "fin"),)),
            ("in a second FIN lost", 2**32 - 102, CLOSE_R, R_FIRST, (lost("i", "fin"),)),
            ("in a lost last ACK", 2**32 - 102, CLOSE_R, R_FIRST, (lost("r", "ack-of-fin"),)),
        )
    ),
    # -- used again
    Shape(
        "used again after the responder's close",
        OPEN + CLOSE_R + "i: connect, = ESTABLISHED; r: accept; " + CLOSE_I,
        f"{I_OPEN + PASSIVE} / {I_OPEN + ACTIVE}",
        f"{R_OPEN + ACTIVE} / {R_OPEN + PASSIVE}",
    ),
    Shape(
        "used again after the initiator's close",
        OPEN + CLOSE_I + "i: aged 2100, connect, = ESTABLISHED; r: accept; " + CLOSE_R,
        f"{I_OPEN + ACTIVE} / {I_OPEN + PASSIVE}",
        f"{R_OPEN + PASSIVE} / {R_OPEN + ACTIVE}",
    ),
    Shape(
        "used again after an abort, twice",
        OPEN
        + "i: abort; r: reset; i: connect, = ESTABLISHED; r: accept, abort; i: reset, connect; r: accept; "
        + CLOSE_I,
        f"{I_OPEN}CL / {I_OPEN}CL / {I_OPEN}{ACTIVE}",
        f"{R_OPEN}CL / {R_OPEN}CL / {R_OPEN}{PASSIVE}",
    ),
    Shape(
        "used again, RST never sent",
        OPEN + "i: abort, connect; r: reset, accept; " + CLOSE_I,
        f"{I_OPEN}CL / {I_OPEN}{ACTIVE}",
        f"{R_OPEN}CL / {R_OPEN}{PASSIVE}",
        losses=(never("i", "rst"),),
    ),
]


# What only lookahead tells: what an end does later shows what it had not received, or not sent.
SHAPES += [
    *(
        Shape(
            f"simultaneous close, the second FIN, {second}'s, lost",
            f"{OPEN}|i: close; r: close|{second}: = CLOSING|i: = TIME-WAIT; r: = TIME-WAIT",
            I_OPEN + (ACTIVE if first == "i" else BOTH),
            R_OPEN + (ACTIVE if first == "r" else BOTH),
            losses=(lost(second, "fin"),),
            released_first=first,
        )
        for first, second in BOTH_WAYS
    ),
    Shape(
        "abort, third segment never sent",
        "r: listen; i: connect, = ESTABLISHED; r: = SYN-RECEIVED; i: abort; r: = gone",
        I_OPEN + "CL",
        "LI SR LI",
        losses=(never("i", "ack", 0),),
    ),
    Shape(
        "abort in CLOSE-WAIT with the ACK of the FIN",
        OPEN + "i: shut; r: = CLOSE-WAIT, abort; i: reset",
        I_OPEN + "F1 CL",
        R_OPEN + "CW CL",
        losses=(never("r", "ack-of-fin", 0, surely=False),),
    ),
    Shape(
        "RST lost, FIN after it",
        OPEN + "i: abort; r: shut, reset",
        I_OPEN + "CL",
        R_OPEN + "F1 CL",
        losses=(lost("i", "rst"),),
    ),
    Shape(
        "RST in FIN-WAIT-2 lost, FIN after it",
        OPEN + "i: shut, = FIN-WAIT-2, abort; r: eof, close, = gone",
        I_OPEN + "F1 F2 CL",
        R_OPEN + "CW LA CL",
        losses=(lost("i", "rst"),),
    ),
    Shape(
        "FIN and abort cross, RST first",
        OPEN + "|i: abort; r: shut|r: reset|r: = gone",
        I_OPEN + "CL",
        R_OPEN + "F1 CL",
        released_first="i",
    ),
    Shape(
        "data and close cross, data first",
        OPEN + "|i: close; r: send 500|i: = gone|r: reset",
        I_OPEN + "F1 CL",
        R_OPEN + "CW CL",
        released_first="r",
    ),
    Shape(
        "data and close cross, FIN first",
        OPEN + "|i: close; r: send 500|r: = CLOSE-WAIT|i: = gone; r: reset",
        I_OPEN + "F1 CL",
        R_OPEN + "CW CL",
        released_first="i",
    ),
    Shape(
        "used again, RST lost",
        OPEN + "i: abort, connect; r: reset, accept; " + CLOSE_I,
        f"{I_OPEN}CL / {I_OPEN}{ACTIVE}",
        f"{R_OPEN}CL / {R_OPEN}{PASSIVE}",
        losses=(lost("i", "rst"),),
    ),
    *(
        Shape(
            f"forged RST {where} the window",
            OPEN + f"i: forge-rst {offset}, send 9; r: read 9; " + CLOSE_I,
            *I_FIRST,
        )
        for where, offset in (("inside", 1000), ("outside", 1000000000))
    ),
]

# What is read in another way than the kernel tells, and why. A shape that is read rightly one day belongs above.
DISAGREEMENTS: list[tuple[str, list[Shape]]] = [
    (
        "cannot be known: a RST that is lost, and then nothing: the same as one that arrives",
        [
            Shape("RST lost, nothing after it", OPEN + "i: abort", I_OPEN + "CL", R_OPEN, losses=(lost("i", "rst"),)),
        ],
    ),
    (
        "cannot be known: a lost ACK, and a RST that arrives: the same as if both had arrived",
        [
            Shape(
                "abort, third segment lost",
                "r: listen; i: connect, = ESTABLISHED; r: = SYN-RECEIVED; i: abort; r: = gone",
                I_OPEN + "CL",
                "LI SR LI",
                losses=(lost("i", "ack", 0),),
            ),
            Shape(
                "abort in FIN-WAIT-1, every ACK of the FIN lost",
                OPEN + "r: quick; i: shut; r: = CLOSE-WAIT; i: abort; r: reset",
                I_OPEN + "F1 CL",
                R_OPEN + "CW CL",
                losses=(lost("r", "ack-of-fin", 0),),
            ),
        ],
    ),
    (
        "cannot be known: a close shows when its FIN does, and that waits behind data that the peer does not take",
        [
            Shape(
                "simultaneous close, one FIN waits for the window",
                "r: listen, small; i: connect, = ESTABLISHED; r: accept; i: small, fill, close, = FIN-WAIT-1; "
                "r: shut; i: = CLOSING; r: drain, = TIME-WAIT; i: = TIME-WAIT",
                I_OPEN + BOTH,
                R_OPEN + ACTIVE,
            ),
        ],
    ),
]
