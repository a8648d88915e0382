"""What people and programs are shown: one writer a format, tables, text, progress."""
