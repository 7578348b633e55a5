"""Comparing the bridge with the original packages: rollouts, figures, and a sweep of all ids."""
