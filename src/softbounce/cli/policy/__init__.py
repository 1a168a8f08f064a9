"""``softbounce policy``: one module for each group of its commands."""
