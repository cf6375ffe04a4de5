"""The papers' tables and figures: one command each, theirs and ours side by side."""
