"""The genuine package safety-gymnasium 1.0.0 on today's Python, Gymnasium and MuJoCo.

Its tasks are registered under their own ids, so `gymnasium.make("SafetyPointGoal1-v0")` after
`import safe_envs` returns a five-tuple environment that follows the cost contract. The package is
imported, unedited, when the first of its tasks is made.
"""

from safe_envs.safety_gymnasium_bridge.making import make

__all__ = ["make"]
