"""Tables, figures and pages, made from stored runs alone."""
