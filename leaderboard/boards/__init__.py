"""The boards: environments and the frozen numbers that their scores are measured by."""
