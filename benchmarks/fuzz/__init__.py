"""Hostile files: what every loader of the workspace makes of damaged and malicious input."""
