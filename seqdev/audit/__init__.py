"""Audits: what went wrong, why, and the repair that fits."""
