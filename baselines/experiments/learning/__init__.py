"""Parts of the experiment that compares variants of agents' settings."""
