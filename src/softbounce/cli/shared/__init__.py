"""What several commands share: the open store, changes, output, input files, options."""
