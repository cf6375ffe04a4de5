"""Symmetric positive semi-definite systems with tens of thousands of unknowns, on one machine."""
