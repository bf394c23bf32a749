"""Show: a report as text."""
