"""Enrolment: leads whose triggers call for a sequence enter it."""
