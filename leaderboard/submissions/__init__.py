"""What is submitted: policies, metadata and learning curves."""
