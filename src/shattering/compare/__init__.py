"""`randomization_test`: the plan, the fits, the table, the sentences and the page."""
