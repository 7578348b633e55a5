"""The cost contract, the environment forms that keep it, and the check that they do."""
