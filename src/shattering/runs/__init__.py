"""Runs: specified, executed once, stored, swept."""
