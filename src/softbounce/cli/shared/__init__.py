"""What several commands share: the open store, output, input files, options."""
