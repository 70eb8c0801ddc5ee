"""The lab on old duplicates: what TIME-WAIT keeps out, and what it lets in."""
