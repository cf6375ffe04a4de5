"""Measures of what a fitted learner does, as plain functions."""
