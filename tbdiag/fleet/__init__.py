"""Many targets: read their file, check them at once, remember what changed, watch them."""
