"""What runs inside a tenant's own Jobs. Nothing of it is imported by the operator."""
