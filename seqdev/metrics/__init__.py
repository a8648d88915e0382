"""The state of the service, and of a run, as metrics."""
