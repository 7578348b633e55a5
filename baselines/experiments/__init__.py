"""The papers' experiments as commands: each prints its table and draws its figures."""
