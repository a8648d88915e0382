"""Rules: what every host obeys, set for all or for a part, and who has set it."""
