"""Agents, environments, and hyperparameters by name."""
