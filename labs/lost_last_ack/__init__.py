"""The lab on the last ACK of a connection, lost: why the end that closes first stays in TIME-WAIT."""
