"""The journal of runs, and the pause switch."""
