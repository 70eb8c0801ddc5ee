"""What TCP is, as a function of segments: no file, no clock, no socket. Knows nothing of the rest of the harness."""
