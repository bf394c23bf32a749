"""Observe: each check does the I/O of one stage and returns evidence."""
