"""What all tests share."""

from hypothesis import settings

# The suite gives the same answer every time; `make fuzz` is where new inputs are looked for.
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")
