"""Forward and backward passes of plain networks in NumPy."""
