"""The store: what the leaderboard keeps in its database."""
