"""Find out, from one run, why random labels were not fitted."""
