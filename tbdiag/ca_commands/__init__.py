"""What the `tbdiag ca` commands do, as functions: each returns a `CaReport` and prints nothing."""
