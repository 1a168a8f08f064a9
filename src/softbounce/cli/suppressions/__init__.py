"""``softbounce suppressions``: the entries, the undoing of an incident, and lists from providers."""
