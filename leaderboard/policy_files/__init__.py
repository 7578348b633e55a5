"""The checks that a policy file has to pass."""
