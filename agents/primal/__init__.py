"""Ways to improve a policy on an advantage; none of them involves constraints."""
