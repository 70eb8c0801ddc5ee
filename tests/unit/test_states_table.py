"""What harness.tcp.states promises: RFC 9293's state machine, every state × every event."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tcp.states import TABLE, Event, State, step

Edges = dict[tuple[State, Event], State]

# RFC 9293 figure 5, edge by edge: what the wire can show of each (passive OPEN sends nothing).
FIGURE_5: Edges = {
    (State.CLOSED, Event.SND_SYN): State.SYN_SENT,  # active OPEN
    (State.LISTEN, Event.SND_SYN): State.SYN_SENT,  # SEND
    (State.LISTEN, Event.RCV_SYN): State.SYN_RECEIVED,
    (State.SYN_SENT, Event.RCV_SYN): State.SYN_RECEIVED,
    (State.SYN_SENT, Event.RCV_SYN_ACK): State.ESTABLISHED,
    (State.SYN_RECEIVED, Event.RCV_ACK_OF_SYN): State.ESTABLISHED,
    (State.SYN_RECEIVED, Event.RCV_RST): State.LISTEN,  # note 1
    (State.SYN_RECEIVED, Event.SND_FIN): State.FIN_WAIT_1,  # CLOSE
    (State.ESTABLISHED, Event.SND_FIN): State.FIN_WAIT_1,  # CLOSE
    (State.ESTABLISHED, Event.RCV_FIN): State.CLOSE_WAIT,
    (State.FIN_WAIT_1, Event.RCV_ACK_OF_FIN): State.FIN_WAIT_2,
    (State.FIN_WAIT_1, Event.RCV_FIN): State.CLOSING,
    (State.FIN_WAIT_2, Event.RCV_FIN): State.TIME_WAIT,
    (State.CLOSE_WAIT, Event.SND_FIN): State.LAST_ACK,  # CLOSE
    (State.CLOSING, Event.RCV_ACK_OF_FIN): State.TIME_WAIT,
    (State.LAST_ACK, Event.RCV_ACK_OF_FIN): State.CLOSED,
    (State.TIME_WAIT, Event.TIMEOUT): State.CLOSED,
}
# What the figure leaves to the text.
TEXT: Edges = {
    (State.SYN_RECEIVED, Event.RCV_SYN_ACK): State.ESTABLISHED,  # figure 7: simultaneous open
    (State.SYN_RECEIVED, Event.RCV_FIN): State.CLOSE_WAIT,  # §3.10.7.4, eighth
}
CLOSE_STATES = [
    *(State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT),
]
SYNCHRONIZED = [State.ESTABLISHED, *CLOSE_STATES]
RESETS = (Event.SND_RST, Event.RCV_RST)

ILLEGAL: dict[str, set[tuple[State, Event]]] = {
    "syn-ack-unasked": {(state, Event.SND_SYN_ACK) for state in (State.CLOSED, State.LISTEN, State.SYN_SENT)},
    "ack-of-no-syn": {(state, Event.RCV_ACK_OF_SYN) for state in (State.CLOSED, State.LISTEN)},
    "fin-when-closed": {(state, Event.SND_FIN) for state in (State.CLOSED, State.LISTEN)},
    "fin-before-open": {(State.SYN_SENT, Event.SND_FIN)},
    "syn-when-open": {
        *((state, Event.SND_SYN) for state in SYNCHRONIZED),
        *((state, Event.SND_SYN_ACK) for state in CLOSE_STATES),
    },
    "ack-of-no-fin": {
        (state, Event.RCV_ACK_OF_FIN)
        for state in {*State} - {State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.LAST_ACK, State.TIME_WAIT}
    },
}
CELLS = list(itertools.product(State, Event))


def test_there_are_eleven_states() -> None:
    """RFC 9293 §3.3.2 lists eleven, CLOSED included."""
    assert len(State) == 11


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_the_table_is_total(state: State, event: Event) -> None:
    """Every event in every state has an outcome; what is illegal leaves the state and has a name."""
    assert (state, event) in TABLE
    after, illegal = step(state, event)
    assert isinstance(after, State)
    assert illegal is None or (after is state and illegal)


def test_nothing_else_is_in_the_table() -> None:
    """Its cells are the states × the events."""
    assert set(TABLE) == set(CELLS)


@pytest.mark.parametrize(("cell", "after"), [*FIGURE_5.items(), *TEXT.items()])
def test_every_edge_of_the_figure_is_there(cell: tuple[State, Event], after: State) -> None:
    """Each edge of figure 5 is legal and leads where the figure says."""
    assert step(*cell) == (after, None)


def test_no_other_event_changes_a_state() -> None:
    """But for RST, each legal change of state is an edge of the figure or of the text."""
    changes = {
        cell: outcome
        for cell, outcome in TABLE.items()
        if isinstance(outcome, State) and outcome is not cell[0] and cell[1] not in RESETS
    }
    assert changes == {**{cell: after for cell, after in FIGURE_5.items() if cell[1] not in RESETS}, **TEXT}


@pytest.mark.parametrize("state", [State.SYN_SENT, *SYNCHRONIZED])
def test_an_acceptable_rst_closes(state: State) -> None:
    """§3.10.7.3 and §3.10.7.4: whoever takes a RST is CLOSED."""
    assert step(state, Event.RCV_RST) == (State.CLOSED, None)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_who_aborts_is_closed(state: State) -> None:
    """Figure 5, note 3: a RST can be sent in any of these states, and ends the connection."""
    assert step(state, Event.SND_RST) == (State.CLOSED, None)


@pytest.mark.parametrize("state", [State.CLOSED, State.LISTEN])
@pytest.mark.parametrize("event", RESETS)
def test_without_a_connection_a_rst_changes_nothing(state: State, event: Event) -> None:
    """§3.10.7.1 and §3.10.7.2: one that comes is ignored, and one that is sent refuses somebody else's segment."""
    assert step(state, event) == (state, None)


@pytest.mark.parametrize(("name", "cells"), ILLEGAL.items())
def test_illegal_cells_have_their_names(name: str, cells: set[tuple[State, Event]]) -> None:
    """What an end that follows the RFC never does is named, and the state stays."""
    assert {cell for cell in TABLE if step(*cell)[1] == name} == cells
    assert all(step(*cell)[0] is cell[0] for cell in cells)


def test_no_other_cell_is_illegal() -> None:
    """The names are all."""
    assert {step(*cell)[1] for cell in TABLE} - {None} == set(ILLEGAL)


@pytest.mark.parametrize("event", [Event.RCV_SYN, Event.RCV_SYN_ACK, Event.RCV_FIN, Event.RCV_RST, Event.TIMEOUT])
def test_receiving_is_never_an_ends_own_fault(event: Event) -> None:
    """What comes in, and time, cannot be illegal of who receives it."""
    assert [step(state, event)[1] for state in State] == [None] * len(State)


@pytest.mark.parametrize("state", State)
def test_only_time_wait_runs_out(state: State) -> None:
    """TIME-WAIT --2MSL--> CLOSED; no other state has a timeout that the wire knows."""
    assert step(state, Event.TIMEOUT) == (State.CLOSED if state is State.TIME_WAIT else state, None)


@pytest.mark.parametrize("state", [State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.LAST_ACK, State.TIME_WAIT])
@pytest.mark.parametrize("event", [Event.SND_FIN, Event.RCV_SYN])
def test_repetitions_change_nothing(state: State, event: Event) -> None:
    """A FIN sent again and an old SYN that comes again are legal and change no state."""
    assert step(state, event) == (state, None)


@given(events=st.lists(st.sampled_from(Event), max_size=30), first=st.sampled_from([State.CLOSED, State.LISTEN]))
def test_any_walk_keeps_to_what_happened(events: list[Event], first: State) -> None:
    """Whatever happens in whatever order, a closing state means that the FINs it stands for were legal events."""
    state, sent, received = first, False, False
    for event in events:
        state, illegal = step(state, event)
        sent = sent or (event is Event.SND_FIN and illegal is None)
        received = received or event is Event.RCV_FIN
        assert sent or state not in set(CLOSE_STATES) - {State.CLOSE_WAIT}
        assert received or state not in {State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT}
