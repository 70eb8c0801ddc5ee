"""Judging: a lab's pytest file, run on evidence, becomes outcomes and marks."""
