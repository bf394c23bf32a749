"""Inject: a local ThingsBoard-like server with one fault."""
