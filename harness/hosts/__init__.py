"""Hosts and testbeds: everything that touches a machine."""
