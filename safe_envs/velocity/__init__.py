"""Six MuJoCo robots with a speed limit."""
