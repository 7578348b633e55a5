from safe_envs.control.double_integrator_plant import (
    double_integrator_barrier as double_integrator_barrier,
)
from safe_envs.quadrotor.filtered.action_value import FittedQ as FittedQ
from safe_envs.quadrotor.filtered.action_value import StateMetric as StateMetric
from safe_envs.quadrotor.filtered.flight_metrics import hover_metric as hover_metric
from safe_envs.quadrotor.filtered.sphere_barrier import SphereRows as SphereRows
from safe_envs.quadrotor.filtered.sphere_barrier import SphereZCBF as SphereZCBF

HOMES: dict[str, str]
