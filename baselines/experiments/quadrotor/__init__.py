"""Flights behind safety filters, for several experiments."""
