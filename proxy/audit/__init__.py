"""Audit: the log of decisions, and deciding again what was decided."""
