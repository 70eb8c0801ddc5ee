"""The lab on sequence numbers: what seq counts, and what ack names."""
