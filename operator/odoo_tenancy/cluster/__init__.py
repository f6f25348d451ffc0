"""Kubernetes: client, server-side apply that skips what is equal, drift, prune, events."""
