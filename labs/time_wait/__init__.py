"""The lab on TIME-WAIT: who stays in it, how long, and what that costs."""
