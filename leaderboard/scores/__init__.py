"""From episodes to a ranking."""
