"""What the worst inputs cost the store, in instructions: ``make cost``."""
