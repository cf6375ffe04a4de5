"""Networks that interpolate by construction (ICLR 2017, theorem 1, corollary 1 and appendix C)."""
