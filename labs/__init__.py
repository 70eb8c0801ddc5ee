"""The labs: each a folder with its handout, its experiment and its rubric."""
