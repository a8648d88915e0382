"""The commands, a module a group: parse, run, render."""
