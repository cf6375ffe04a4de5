"""The papers' experiments: one file for each table, figure or claim."""
