"""The papers' experiments: one file per table, figure or claim has what is computed, run, claimed and drawn."""
