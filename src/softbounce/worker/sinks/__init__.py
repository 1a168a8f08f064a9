"""Where commands and notices go: a module for each kind of target."""
