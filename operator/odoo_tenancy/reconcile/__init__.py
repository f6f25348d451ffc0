"""One module a kind: read, decide, apply, report."""
