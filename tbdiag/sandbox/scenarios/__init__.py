"""Every scenario: a healthy local server with exactly one thing wrong."""
