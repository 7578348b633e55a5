"""Constraint layers: networks whose outputs are feasible, in supervised problems and as heads."""
