"""What softbounce loses under faults: nothing. ``python -m checks.chaos`` shows it; see docs/introduction/guarantees.md."""
