"""Parts of the experiment that compares the backends of updates."""
