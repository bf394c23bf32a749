"""What each device TLS stack decides about a chain."""
