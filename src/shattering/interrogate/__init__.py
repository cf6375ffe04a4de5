"""Do measures of generalization tell natural from random labels? Populations of runs, tests, controls, verdicts and their page."""
