"""A quadrotor that flies a figure eight through spheres it must not touch."""
