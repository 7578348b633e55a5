"""What is submitted: policies, what they say about themselves, and learning curves."""
