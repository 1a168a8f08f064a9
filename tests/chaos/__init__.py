"""What softbounce loses under faults: nothing. ``python -m tests.chaos`` shows it; see docs/introduction/guarantees.md."""
