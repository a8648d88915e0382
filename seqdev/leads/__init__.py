"""Leads: import from files, phones."""
