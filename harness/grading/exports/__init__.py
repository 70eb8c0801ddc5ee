"""Graded submissions in the shapes that other systems import, one module a system."""
