"""The tick: every due contact gets its message, or a reason to wait."""
