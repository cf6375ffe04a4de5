"""The training loop of networks, and what surrounds it."""
