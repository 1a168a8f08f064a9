"""After an outage: what waited comes due at once, and leaves by the hand-over rate, in virtual time."""
