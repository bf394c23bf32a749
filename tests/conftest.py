"""What all tests share."""

import signal

from hypothesis import settings

# The suite gives the same answer every time; `make fuzz` is where new inputs are looked for.
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")

# A shell starts what runs in its background (`make test &`, nohup) with Ctrl-C ignored, and every
# program that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
