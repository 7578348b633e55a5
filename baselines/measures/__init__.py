"""What runs are measured by: episodes, learning curves, and statistics over seeds."""
