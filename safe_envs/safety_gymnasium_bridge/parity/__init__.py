"""The bridge held against the original packages: rollouts, figures, and a sweep of all ids."""
