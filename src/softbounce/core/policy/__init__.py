"""The policy file: text in, typed rules out, or every mistake at its place."""
