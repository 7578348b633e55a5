"""The part of a native environment that one-file problems have no use for."""

import numpy as np


class BareDynamics:
    """Dynamics without noise, margins, details or pictures; problems fill in the rest."""

    render_fps = 30

    def noise(self, rng, count):
        return np.empty((count, 0))

    def margins(self, states):
        return None

    def start_details(self, states):
        return None

    def frame(self, state):
        return np.zeros((1, 1, 3), np.uint8)

    def close(self):
        pass
