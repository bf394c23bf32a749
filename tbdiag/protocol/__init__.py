"""Facts about protocols: bytes in, plain values out, no verdicts."""
