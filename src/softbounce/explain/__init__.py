"""Why: what softbounce decided or would decide, and what would change that."""
