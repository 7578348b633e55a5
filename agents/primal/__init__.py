"""Ways to improve a policy on an advantage; none of them knows of constraints."""
