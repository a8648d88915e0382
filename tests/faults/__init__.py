"""Faults: real processes against real servers, broken on purpose, every row reconciled afterwards."""
