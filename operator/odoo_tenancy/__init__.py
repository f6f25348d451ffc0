"""Runs Odoo for many customers on Kubernetes, and proves what it promises."""

__version__ = "0.1.0"
