"""Readers: bytes of a capture file → segments."""
