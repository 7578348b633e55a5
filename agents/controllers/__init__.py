"""Model-based controllers with the `predict` method of Stable-Baselines3's policies.

    controller = GeometricController(gym.make("Safe/Quadrotor-v0"))
    action, _ = controller.predict(observation)

They need only NumPy, SciPy and DAQP; `MPCController(solver="ipopt")` also needs casadi.
"""

from agents.controllers.geometric import GeometricController
from agents.controllers.linear_quadratic import LQRController
from agents.controllers.malicious_expert import MaliciousExpert
from agents.controllers.model_predictive import MPCController
from agents.controllers.quadrotor_mpc import QuadrotorMPC

__all__ = [
    "GeometricController",
    "LQRController",
    "MPCController",
    "MaliciousExpert",
    "QuadrotorMPC",
]
