"""What a failure means: pure functions from event and policy to a plan. No I/O, no clock, no log."""
