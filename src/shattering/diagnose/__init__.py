"""Why random labels were not fitted, from one run."""
