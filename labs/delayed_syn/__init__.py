"""The lab on an old SYN that arrives late: what the third step of the handshake is for."""
