"""Repairs: planned, journaled, undone."""
