"""A tenant and its pool, turned into the manifests that should exist.

Pure functions: no I/O, no clock, no randomness. The same input gives the same bytes, so that an apply whose
result would be equal can be skipped. ``tenant.py`` and ``pool.py`` are the doors; the other modules each
build one thing.
"""
