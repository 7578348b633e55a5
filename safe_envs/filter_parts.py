"""Modules of the safety filter's parts that are specific to one environment.

`safe_envs.safety_filters` exports them under these names and imports their modules on first access;
it does not depend on any environment itself. Type checkers read the stub next to this file.
"""

HOMES = {
    "FittedQ": "safe_envs.quadrotor.filtered.action_value",
    "SphereRows": "safe_envs.quadrotor.filtered.sphere_barrier",
    "SphereZCBF": "safe_envs.quadrotor.filtered.sphere_barrier",
    "StateMetric": "safe_envs.quadrotor.filtered.action_value",
    "double_integrator_barrier": "safe_envs.control.double_integrator_plant",
    "hover_metric": "safe_envs.quadrotor.filtered.flight_metrics",
}
