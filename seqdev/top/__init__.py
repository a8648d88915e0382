"""The service as it stands now, on one page: read again and again."""
