"""The kinds of ``odootenancy.io/v1alpha1`` as typed, frozen models. Imports nothing else of the package."""
