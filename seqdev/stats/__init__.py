"""The numbers of the service."""
