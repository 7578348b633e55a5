"""Write the animations of the safety filter: `python docs/quadrotor_flights.py`.

images/quadrotor_filter.gif shows one scenario without and with the filter, drawn by MuJoCo.
images/quadrotor_metrics.gif shows the paths with two metrics, from above and from the side. Both
take a minute or two and need OpenGL, so `make docs` does not rebuild them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from film_frames import save_gif
from PIL import Image, ImageDraw, ImageFont

import safe_envs  # noqa: F401  registers the environments
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.rendering import Color, Flown, draw_flights
from safe_envs.quadrotor.task import flight_task
from safe_envs.rendering.frames import AGENT, BACKGROUND, HAZARD, INK
from safe_envs.safety_filters import SafetyFilter, SphereZCBF

IMAGES = Path(__file__).resolve().parent / "images"
SEED = 10  # the metrics differ by 0.79 in return; the mean of 32 scenarios is 0.77
STEPS = 600  # once around the figure eight
STRIDE = 5  # steps from frame to frame, 20 frames a second
FRAME_TIME, LAST_FRAME_TIME = 50, 2000  # [ms]
MARGIN = 0.03  # [m]
PANEL = (480, 360)  # [pixels] of a flight drawn by MuJoCo
STRIP = 52  # [pixels] of the labels
FONT_SIZE = 19
EUCLIDEAN = (142, 68, 153)
EUCLIDEAN_ROTOR = (213, 184, 219)


class Moment(NamedTuple):
    """A flight after some steps."""

    state: np.ndarray  # (13,)
    time: float  # on the reference [s]
    trail: list[np.ndarray]  # positions since the start, shared by all moments
    centers: np.ndarray  # (obstacles, 3) [m]
    total: float  # of the rewards
    touches: int  # steps that ended in a sphere
    frame: np.ndarray | None  # drawn by MuJoCo


def fly(metric: str | None, draws: bool = False) -> Iterator[Moment]:
    """Yield the moments of one flight, including the start; metric None means no filter."""
    options = {"render_mode": "rgb_array", "render_backend": "mujoco"} if draws else {}
    env = gym.make("Safe/Quadrotor-v0", disable_env_checker=True, **options)
    flight = env.unwrapped
    assert isinstance(flight, QuadrotorEnv)
    if metric is not None:
        env = SafetyFilter(env, SphereZCBF(order=3, margin=MARGIN), metric)
    env.reset(seed=SEED)
    pilot = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    total, touches, trail = 0.0, 0, [flight.state[:3]]
    for step in range(STEPS + 1):
        if step % STRIDE == 0:
            frame = env.render() if draws else None
            moment = (flight.state, flight.time, trail[:], flight.centers, total, touches)
            yield Moment(*moment, frame)
        _, reward, _, _, info = env.step(flight.action_of(pilot(flight.state, flight.time)))
        total += float(reward)
        touches += info["cost"] > 0.0
        trail.append(flight.state[:3])
    env.close()


def filter_frames() -> list[Image.Image]:
    """Return the frames of a flight without and with the filter, side by side."""
    frames = []
    for plain, filtered in zip(fly(None, draws=True), fly("lqr", draws=True), strict=True):
        picture = Image.new("RGB", (2 * PANEL[0] + 4, PANEL[1] + STRIP), BACKGROUND)
        for moment, left, name in (
            (plain, 0, "no filter"),
            (filtered, PANEL[0] + 4, "SafetyFilter, order 3"),
        ):
            panel = Image.fromarray(moment.frame).resize(PANEL, Image.Resampling.LANCZOS)
            picture.paste(panel, (left, STRIP))
            seconds = 0.01 * moment.touches
            write(picture, (left + 12, 4), name, INK)
            color = HAZARD if moment.touches else INK
            write(picture, (left + 12, 26), f"{seconds:.2f} s inside spheres", color)
        frames.append(picture)
    return frames


def metric_frames() -> list[Image.Image]:
    """Return the frames of two flights past the same spheres, one for each metric."""
    task = flight_task("spheres", "crazyflie", (0.0, 0.0, 0.0), 0.0, 1.0, 0.0, False, None, False)
    frames = []
    for euclidean, weighted in zip(fly("euclidean"), fly("lqr"), strict=True):
        flights = [
            Flown(euclidean.state, euclidean.trail, EUCLIDEAN, EUCLIDEAN_ROTOR),
            Flown(weighted.state, weighted.trail),
        ]
        target = task.reference.at(weighted.time).position
        drawn = Image.fromarray(draw_flights(flights, weighted.centers, target, task))
        picture = Image.new("RGB", (drawn.width, drawn.height + STRIP), BACKGROUND)
        picture.paste(drawn, (0, STRIP))
        for moment, top, name, color in (
            (euclidean, 4, "Euclidean metric", EUCLIDEAN),
            (weighted, 26, "weighted metric (lqr)", AGENT),
        ):
            write(picture, (12, top), name, color)
            write(picture, (230, top), f"return {moment.total:.2f}", color)
        frames.append(picture)
    return frames


def write(picture: Image.Image, place: tuple[int, int], text: str, color: Color) -> None:
    """Draw a line of text into a picture."""
    font = ImageFont.load_default(FONT_SIZE)
    ImageDraw.Draw(picture).text(place, text, fill=color, font=font)


def main() -> None:
    """Write both animations."""
    times = FRAME_TIME, LAST_FRAME_TIME
    save_gif(filter_frames(), IMAGES / "quadrotor_filter.gif", *times)
    save_gif(metric_frames(), IMAGES / "quadrotor_metrics.gif", *times)


if __name__ == "__main__":
    main()
