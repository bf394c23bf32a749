"""Where a target comes from."""
