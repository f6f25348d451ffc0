"""Everything outside of Kubernetes: each service one class, usable alone. Imports nothing of the package but
``api``."""
