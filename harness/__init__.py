"""Two-machine TCP lab: run the experiment, and prove from the packets what happened.

PYTEST_DONT_REWRITE: .venv's interpreter has imported this package before pytest runs (see pytest_capture_option.py).
"""
