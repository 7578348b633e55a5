"""The quadrotor on a figure eight through spheres."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from safe_envs.action_constraints.action_constraint import ActionConstraint
from safe_envs.contract.action_checks import checked_box
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.backup_policy import BackupPolicy
from safe_envs.contract.cost_signal import CostLimits
from safe_envs.contract.single_env import SingleEnv
from safe_envs.quadrotor.batch import QuadrotorBatch
from safe_envs.quadrotor.filtered.backup import FilteredFlight
from safe_envs.quadrotor.filtered.flight_constraint import flight_constraint
from safe_envs.quadrotor.filtered.flight_plant import flight_plant
from safe_envs.quadrotor.filtered.sphere_barrier import SphereZCBF
from safe_envs.quadrotor.keys import keys_to_thrusts
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.render_backends import RenderBackend, flight_painter
from safe_envs.quadrotor.scalar_flight import FlightState, ScalarFlight
from safe_envs.quadrotor.task import CONTROL_DT, SceneName, VehicleName, flight_task
from safe_envs.quadrotor.vehicle import Vehicle
from safe_envs.safety_filters.filter_plant import FilterPlant


class QuadrotorEnv(SingleEnv):
    """A quadrotor that flies a figure eight through spheres it must not touch.

    ## Description
    A small quadrotor, controlled by its four rotor thrusts at 100 Hz, should follow a figure eight
    that leads through obstacles: to stay safe it has to leave the reference. A rigid body with

        dp/dt = v,  dv/dt = (T/m) R(q) e3 - g e3,  dq/dt = (1/2) q (0, w),
        dw/dt = J^-1 (tau - w x J w)

    is integrated by two fourth-order Runge-Kutta steps of 5 ms with constant thrusts.

    - Crazyflie: m = 0.027 kg, J = diag(1.4, 1.4, 2.17) 1e-5 kg m^2, arm 0.0397 m, drag torque over
      thrust 0.0251 m, thrust-to-weight 2.25, radius 0.06 m (cf2x.urdf of gym-pybullet-drones, which
      cites arXiv 1608.05786).
    - Hummingbird: m = 0.5 kg, J = diag(3.65, 3.68, 7.03) 1e-3 kg m^2, arm 0.17 m, drag torque over
      thrust 0.0244 m (hummingbird_params.py of rotorpy); thrust-to-weight 4 and the radius 0.27 m,
      arm plus propeller, are our choice.

    The reference is (sin wt, 0.5 sin 2wt, 1) m with w = 2 pi / 6 s; for the Hummingbird it is
    twice as long and wide, with w = 2 pi / 8.5 s. The reference, the obstacles and all weights
    below are our choice. The setting, a quadrotor that tracks a trajectory with spheres as state
    constraints, is that of arXiv 2602.12603.

    ## Action Space
    `Box(-1, 1, (4,), float32)`: thrusts u = (a + 1) / 2 of the rotors front right, rear right,
    rear left and front left, as fractions of the largest thrust; values outside are clipped. The
    Crazyflie hovers at a = -0.111. With `gymnasium.utils.play`, w and s fly up and down, a and d
    roll, i and k pitch, and j and l yaw; without a key the rotors hover.

    ## Observation Space
    `Box(-inf, inf, (19 + 4 n,), float32)` for n spheres: position (3) [m], velocity (3) [m/s],
    quaternion (w, x, y, z) with w >= 0, body rates (3) [rad/s], the reference's position and
    velocity minus the vehicle's (6), the spheres' centers minus the position (3 n) [m], and their
    radii plus the vehicle's (n) [m]. Safe/Quadrotor-v0 has 4 spheres and 35 entries,
    Safe/QuadrotorColumn-v0 42 spheres and 187 entries. If m spheres move, their velocities minus
    the vehicle's (3 m) [m/s] follow. `info["state"]` is (position, velocity, quaternion, body
    rates), (13,).

    ## Rewards
    -dt l with dt = 0.01 s, for the state after the step and the thrusts u commanded in it:
    l = 10 |e_p|^2 + |e_v|^2 + 2 |q_v|^2 + 0.02 |w|^2 + 2 |u - u_h|^2, where e_p and e_v are the
    tracking errors, q_v is the quaternion's vector part and u_h the hover thrusts. Termination
    after k steps adds -(600 - k) dt 40, as if the largest position error had lasted to the end:
    ending early does not pay.

    ## Costs
    For every sphere 1 on a step that ends closer to its center than its radius plus the vehicle's,
    else 0; `info["cost"]` is their sum, and the limit on the episode's sum is 0.
    `per_constraint=True` declares one constraint per sphere. `info["constraint_values"]` holds
    radius - distance [m], one per sphere.

    ## Starting State
    A uniform time on the reference, its position and velocity with noise of 0.03 m and 0.05 m/s,
    level and without rotation. Stacks of spheres are shifted by up to 0.06 m sideways and upwards.
    Time and noise are drawn again until every h = |p - c|^2 - (r + 0.03)^2 has h > 0.05,
    h' + 4 h > 0 and, without acceleration, h'' + 8 h' + 16 h > 0, so that no start is on an
    unavoidable collision course. `reset(options={"time": t, "offsets": o})` fixes the time on
    the reference [s] or the shifts (stacks, 2) [m]; with "state" x (13,) = (position, velocity,
    quaternion, body rates) the other two are 0 unless given. The native vector form takes
    `options={"state": x}` with x (N, 13), or with a dict of all three as x. If 2000 draws find no
    such start, reset raises an error. Your own obstacles stay in place unless "offsets"
    shifts them along x, y and z: (k, 3) [m], one row per sphere, column and `MovingSpheres`.

    ## Episode End
    Terminates more than 2 m from the reference, below 0.02 m, or tilted by more than 120 degrees;
    truncates after 600 steps of 0.01 s, one lap of the Crazyflie's reference.

    ## Reference Optimum
    None is known. If the spheres are ignored, the best return is near 0: the controller of
    `safe_envs.quadrotor.geometric_controller` follows the reference with an error of 0.003 m and
    hits spheres in about half of all steps.

    ## Arguments
    - `scene` ("spheres"): "spheres", 4 of radius 0.25 m, or "column", two columns of 21 such
      spheres from the ground up to 5 m, which cannot be passed over or under; set by the id.
    - `vehicle` ("crazyflie"): "crazyflie", "hummingbird", or a `Vehicle` of
      `safe_envs.quadrotor.vehicle` with its own mass, inertia, rotors and largest thrust.
      `CRAZYFLIE.with_payload(...)` and `CRAZYFLIE.with_center_of_mass(...)` return vehicles with an
      off-center mass. The position is that of the center of mass. The vehicle must be able to hover
      with every rotor above 0 and below its largest thrust.
    - `wind` ((0, 0, 0)), `gust` (0): constant force and standard deviation of each component of a
      changing one [N], a first-order process with a time constant of 0.5 s that starts at 0.
    - `mass_scale` (1): true mass over the mass of `vehicle`'s model.
    - `motor_lag` (0): time constant of the rotors [s]; they start at the hover thrust.
    - `terminate_on_collision` (False): whether the first contact terminates the episode.
    - `cost_limits` (None), `per_constraint` (False): as above.
    - `render_mode` (None): "rgb_array" or "human".
    - `render_backend` ("drawing"): "drawing", the flight from above and from the side, or "mujoco",
      the flight in three dimensions, which needs `pip install "safe-envs[mujoco]"` and OpenGL;
      MuJoCo does not simulate it. Both draw small vehicles larger than they are.
    - `obstacles` (None: those of `scene`): an array (k, 4) of x, y, z and radius, or (k, 3) with
      the radius 0.25 [m]; `Spheres`, `SphereColumns` or `MovingSpheres` of
      `safe_envs.quadrotor.obstacles`; a function that maps the time on the reference to centers
      (k, 3); or a list of these. Columns are stacks of spheres one radius apart, as in
      `scene="column"`. An empty list means no obstacles.
    - `reference` (None): a `safe_envs.quadrotor.reference.FigureEight`; None for that of the named
      vehicle, or the Crazyflie's for your own `Vehicle`.

    ## Version History
    - v0: first version.
    """

    control_dt = CONTROL_DT  # [s]
    dynamics: QuadrotorBatch

    @known_arguments()
    def __init__(
        self,
        scene: SceneName = "spheres",
        vehicle: VehicleName | Vehicle = "crazyflie",
        wind: Iterable[float] = (0.0, 0.0, 0.0),
        gust: float = 0.0,
        mass_scale: float = 1.0,
        motor_lag: float = 0.0,
        terminate_on_collision: bool = False,
        cost_limits: CostLimits = None,
        per_constraint: bool = False,
        render_mode: str | None = None,
        render_backend: RenderBackend = "drawing",
        obstacles: Any = None,
        reference: FigureEight | None = None,
    ) -> None:
        self._task = task = flight_task(
            scene, vehicle, wind, gust, mass_scale, motor_lag, terminate_on_collision, cost_limits,
            per_constraint, obstacles, reference,
        )  # fmt: skip
        painter = flight_painter(render_backend, task)
        one = ScalarFlight(task, painter, keeps_trail=render_mode is not None)
        super().__init__(QuadrotorBatch(task, painter), render_mode, one)

    @property
    def vehicle(self) -> Vehicle:
        """The model of the vehicle, with its nominal mass."""
        return self._task.vehicle

    @property
    def reference(self) -> FigureEight:
        """The trajectory to follow; the current point is `reference.at(time)`."""
        return self._task.reference

    @property
    def state(self) -> np.ndarray:
        """A copy of the state, (13,)."""
        return np.array(self._flight("the state").state)

    @property
    def time(self) -> float:
        """The current time on the reference [s]."""
        return self._flight("the time").time

    @property
    def centers(self) -> np.ndarray:
        """The spheres' centers, (obstacles, 3) [m]."""
        return np.array(self._flight("the centers").centers).reshape(-1, 3)

    @property
    def radii(self) -> np.ndarray:
        """The spheres' radii plus the vehicle's, (obstacles,) [m], read-only."""
        return self._task.radii

    @property
    def moving(self) -> tuple[int, ...]:
        """The indices of the spheres that move."""
        return tuple(self._task.scene.moving.tolist())

    @property
    def motion(self) -> np.ndarray:
        """The spheres' velocities, accelerations and jerks, (3, obstacles, 3)."""
        return self._task.scene.motion_rows((self._flight("the motion").time,))[..., 0]

    def thrusts_of(self, action: np.ndarray) -> np.ndarray:
        """Return the thrusts u = (a + 1) / 2 of an action, clipped to [0, 1], (4,)."""
        return 0.5 * (checked_box(action, self._task.spaces()[1]) + 1.0)

    def action_of(self, u: np.ndarray) -> np.ndarray:
        """Return the action 2 u - 1 of thrusts, (4,) float32."""
        return (2.0 * np.asarray(u, dtype=np.float64) - 1.0).astype(np.float32)

    def get_keys_to_action(self) -> dict[str, np.ndarray]:
        """Return the actions of pressed keys, for `gymnasium.utils.play`; "", no key, hovers."""
        return {keys: self.action_of(u) for keys, u in keys_to_thrusts(self.vehicle).items()}

    def backup_policy(self) -> BackupPolicy:
        """Return `FilteredFlight`: a controller of the reference behind the safety filter."""
        return FilteredFlight(self.vehicle, self.reference, moving=self.moving)

    def action_constraint(
        self, barrier: SphereZCBF | None = None, constant_velocities: bool = False
    ) -> ActionConstraint:
        """Return which actions keep clear of the observed spheres, see `flight_constraint`."""
        return flight_constraint(self, barrier, constant_velocities)

    def filter_plant(self) -> FilterPlant:
        """Return what the safety filter needs: state, thrusts, barrier and metrics."""
        return flight_plant(self)

    def _flight(self, wanted: str) -> FlightState:
        flight: FlightState = self.current_state(f"reading {wanted}")
        return flight
