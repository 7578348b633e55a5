"""The quadrotor in MuJoCo's XML, for drawing and for comparison with another integrator."""

from __future__ import annotations

from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle


def mujoco_text(vehicle: Vehicle, time_step: float, shape: str = "", scenery: str = "") -> str:
    """Return the vehicle as a free body with one motor for each rotor, in MuJoCo's XML.

    qpos is (position, quaternion) and ctrl the thrusts u in [0, 1]; qvel is (velocity, body rates).
    Motor i applies the force largest_thrust * u_i along the body's z axis at its rotor, and
    spin_i * torque_ratio times that as a torque about it.

    Args:
        vehicle: the model.
        time_step: of the Runge-Kutta integrator [s].
        shape: elements inside the body, such as geoms; its mass and inertia stay the vehicle's.
        scenery: elements next to the body's <worldbody>.
    """
    rotors = list(zip(vehicle.rotor_x, vehicle.rotor_y, vehicle.spin, strict=True))
    sites = [f'<site name="rotor{i}" pos="{x} {y} 0"/>' for i, (x, y, _) in enumerate(rotors)]
    largest = vehicle.largest_thrust
    motors = [
        f'<motor site="rotor{i}" gear="0 0 {largest} 0 0 {s * vehicle.torque_ratio * largest}"/>'
        for i, (_, _, s) in enumerate(rotors)
    ]
    kind, moments = "diaginertia", [*vehicle.inertia]
    if vehicle.has_products:
        kind, moments = "fullinertia", [*vehicle.inertia, *vehicle.products]
    inertia = f'{kind}="{" ".join(map(str, moments))}"'
    return f"""<mujoco>
    <option timestep="{time_step}" integrator="RK4" gravity="0 0 -{GRAVITY}"/>
    {scenery}
    <worldbody><body name="vehicle" pos="0 0 1"><freejoint/>
    <inertial pos="0 0 0" mass="{vehicle.mass}" {inertia}/>{"".join(sites)}
    {shape}
    </body></worldbody><actuator>{"".join(motors)}</actuator></mujoco>"""
