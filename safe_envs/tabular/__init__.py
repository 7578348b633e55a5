"""Constrained MDPs as tables: the model, its environments, and exact policy evaluation."""
