"""Where those parts of the safety filter live that are made for one environment.

`safe_envs.safety_filters` exports them by these names and imports their modules when they are first
asked for; it knows no environment itself. Type checkers read the stub beside this file.
"""

HOMES = {
    "FittedQ": "safe_envs.quadrotor.filtered.action_value",
    "SphereRows": "safe_envs.quadrotor.filtered.sphere_barrier",
    "SphereZCBF": "safe_envs.quadrotor.filtered.sphere_barrier",
    "StateMetric": "safe_envs.quadrotor.filtered.action_value",
    "double_integrator_barrier": "safe_envs.control.double_integrator_plant",
    "hover_metric": "safe_envs.quadrotor.filtered.flight_metrics",
}
