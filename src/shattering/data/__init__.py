"""Datasets: named, from disk, or from arrays."""
