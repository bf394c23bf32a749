"""Many targets."""
