"""Fuzzing: every reader of foreign bytes as one function (see targets.py), and what runs them."""
