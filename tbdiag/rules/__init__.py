"""Judge: pure functions from evidence to findings."""
