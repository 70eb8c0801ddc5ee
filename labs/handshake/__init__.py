"""The handshake lab: one ssh session, opened and closed, watched with tcpdump."""
