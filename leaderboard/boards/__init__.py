"""The boards: environments and the fixed numbers that their scores are computed from."""
