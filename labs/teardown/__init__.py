"""The lab on how TCP connections end."""
