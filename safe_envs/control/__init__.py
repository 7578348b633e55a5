"""Small control problems with known optima: a double integrator and a one-step regression."""
