"""The report of an incident: one file to attach to its ticket."""
