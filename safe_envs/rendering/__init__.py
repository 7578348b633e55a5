"""Frames of environments, as arrays or in a window."""
