"""Explain: the whole story of one person."""
