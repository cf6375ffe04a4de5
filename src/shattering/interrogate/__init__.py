"""The question whether measures of generalization tell natural from random labels. Populations, tests, controls, verdicts, the page."""
