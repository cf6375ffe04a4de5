"""Measures of what a fitted model does, as plain functions."""
