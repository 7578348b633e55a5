"""Plays hidden episodes with submitted policies."""
