"""The cost contract, the environment forms that follow it, and the conformance check."""
