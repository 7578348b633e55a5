"""Write a picture and a moving picture of every environment: `python docs/environment_films.py`.

The solvers' and controllers' own policies act in them, and gaits made for the pictures in the
velocity tasks. With ids as arguments, only those environments are filmed. `make docs` films all.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from film_frames import (
    Entry,
    Shot,
    agent_place,
    composed,
    save_gif,
    save_picture,
    with_path,
)
from robot_gaits import GAITS, torques

import safe_envs  # noqa: F401  registers the environments
from agents.controllers import GeometricController, LQRController
from agents.tabular import linear_program
from safe_envs.control.constrained_regression import BOUND, CONSTRAINED, target
from safe_envs.quadrotor.rendering import SPHERE, TOUCHED
from safe_envs.rendering.frames import AGENT, GOAL, HAZARD, INK
from safe_envs.velocity.robots import ROBOTS

IMAGES = Path(__file__).resolve().parent / "images"
SEED = 4
Policy = Callable[[Any, int], Any]  # observation, step of the episode -> action
Numbers = Callable[[int, float, dict[str, Any]], str]  # step, sum of rewards, info -> line


def sums(step: int, rewards: float, info: dict[str, Any]) -> str:
    """Return the plain sums of an episode so far."""
    total = round(rewards, 2) + 0.0  # no -0.00
    return f"step {step}: rewards {total:.2f}, costs {info['episode_cost']:.3g}"


def contact_time(step: int, rewards: float, info: dict[str, Any]) -> str:
    """Return how long a quadrotor has been inside obstacles."""
    return f"{0.01 * step:.1f} s flown, {0.01 * info['episode_cost']:.2f} s inside obstacles"


def speed_of(robot: str) -> Numbers:
    """Return what tells the speed of a robot and its limit."""
    limit = ROBOTS[robot].velocity_threshold

    def told(step: int, rewards: float, info: dict[str, Any]) -> str:
        if step == 0:
            return f"start, at rest; limit {limit:.2f} m/s"
        speed = info["constraint_values"][0] + limit
        return f"{speed:.2f} m/s, limit {limit:.2f}; costs {info['episode_cost']:g}"

    return told


@dataclass(frozen=True)
class Film:
    """How an environment is filmed.

    Args:
        policy: returns the policy for an environment.
        told: what acts, for the caption.
        legend: what the colors mean.
        numbers: the line above a frame.
        frames: of the moving picture.
        milliseconds: that each is shown.
        stride: steps from frame to frame.
        still: which frame is the picture.
        starts: states of the first resets; later ones are drawn.
        path_below: pixels from the start to its name; None draws no path.
        scale: of the rendered frames in the moving picture.
        colors: in its palette.
    """

    policy: Callable[[gym.Env], Policy]
    told: str
    legend: tuple[Entry, ...]
    numbers: Numbers = sums
    frames: int = 30
    milliseconds: int = 100
    stride: int = 1
    still: int = -1
    starts: tuple[Any, ...] = ()
    path_below: float | None = None
    scale: float = 1.0
    colors: int = 64


def environment_ids() -> list[str]:
    """Return the ids this project registers, sorted."""
    ours = sorted(env_id for env_id in gym.registry if env_id.startswith("Safe/"))
    module = "safe_envs.velocity.env:"
    return ours + sorted(
        env_id for env_id, spec in gym.registry.items() if str(spec.entry_point).startswith(module)
    )


def page_name(env_id: str) -> str:
    """Return an id as the stem of a file name: "Safe/CliffWorld-v0" is "cliff_world"."""
    name = env_id.removeprefix("Safe/").split("-v")[0]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def optimal_policy(env: gym.Env) -> Policy:
    """Return the optimum of the linear program, which draws its actions."""
    policy = linear_program(env.unwrapped.tabular_model()).policy  # (S, A)
    rng = np.random.default_rng(SEED)
    return lambda state, step: int(rng.choice(policy.shape[1], p=policy[state]))


def random_actions(env: gym.Env) -> Policy:
    """Return actions drawn from the action space."""
    env.action_space.seed(SEED)
    return lambda observation, step: env.action_space.sample()


def predicted_by(controller: Callable[[gym.Env], Any]) -> Callable[[gym.Env], Policy]:
    """Return what makes a policy of a controller."""

    def made(env: gym.Env) -> Policy:
        predict = controller(env).predict
        return lambda observation, step: predict(observation)[0]

    return made


def best_answers(env: gym.Env) -> Policy:
    """Return the best policy that never leaves the band."""

    def answer(x: np.ndarray, step: int) -> np.ndarray:
        wanted = target(x)
        allowed = np.clip(wanted, -BOUND, BOUND)
        return np.where(np.abs(x) <= CONSTRAINED, allowed, wanted).astype(np.float32)

    return answer


def backup(env: gym.Env) -> Policy:
    """Return the environment's own safe controller."""
    controller = env.unwrapped.backup_policy()
    return lambda observation, step: controller(observation)


def answers_in_turn(env: gym.Env) -> Policy:
    """Return a policy that answers with random numbers, then with A+ x, then with the optimum."""
    env.action_space.seed(SEED)
    kinds = cycle(
        (
            lambda x: env.action_space.sample(),
            env.unwrapped.backup_policy(),
            lambda x: env.unwrapped.dynamics.optimum(x).outputs,
        )
    )
    return lambda x, step: np.float32(next(kinds)(x))


def gait(robot: str) -> Callable[[gym.Env], Policy]:
    """Return what makes a policy of a robot's gait."""
    return lambda env: partial(torques, GAITS[robot], env)


def shots(env_id: str, film: Film) -> Iterator[Shot]:
    """Yield frames of one episode after the other."""
    env = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
    policy = film.policy(env)
    for episode in count():
        given = film.starts[episode : episode + 1]
        seed = SEED if episode == 0 else None
        observation, info = env.reset(seed=seed, options={"state": given[0]} if given else None)
        rewards, ended, places = 0.0, False, []
        for step in count():
            if step % film.stride == 0 or ended:
                frame = env.render()
                if film.path_below is not None:
                    place = agent_place(frame)
                    places += [] if place is None else [place]
                    frame = with_path(frame, places, film.path_below)
                yield Shot(frame, film.numbers(step, rewards, info))
            if ended:
                break
            observation, reward, *ends, info = env.step(policy(observation, step))
            rewards, ended = rewards + float(reward), any(ends)


def write_film(env_id: str) -> None:
    """Write the moving picture of an environment, and one of its frames as a picture."""
    film = film_of(env_id)
    taken = list(islice(shots(env_id, film), film.frames))
    stem = IMAGES / page_name(env_id)
    save_picture(composed(taken[film.still], film.legend), stem.with_suffix(".png"))
    frames = [composed(shot, film.legend, film.scale) for shot in taken]
    save_gif(frames, stem.with_suffix(".gif"), film.milliseconds, colors=film.colors)


RANDOM = Film(random_actions, "Actions are random.", (Entry("none", INK, "random actions"),))
WALKER = Entry("dot", AGENT, "agent")
OPTIMAL = "The policy is the optimum of the linear program, which draws some of its actions."
GRID = {"policy": optimal_policy, "told": OPTIMAL, "milliseconds": 160, "path_below": 20.0}
SPHERES = (
    Entry("line", GOAL, "reference, and where to be now (dot)"),
    Entry("line", AGENT, "quadrotor and its path from the start"),
    Entry("square", SPHERE, "obstacle: each step inside costs 1"),
    Entry("square", HAZARD, "touched now"),
    Entry("square", TOUCHED, "touched before"),
)
FLIGHT = {"numbers": contact_time, "frames": 61, "milliseconds": 50, "stride": 10, "still": 27}
FILMS: dict[str, Film] = {
    "Safe/CliffWorld-v0": Film(
        **GRID,
        frames=22,
        still=7,
        starts=(10, 5),
        legend=(
            WALKER,
            Entry("square", GOAL, "goal: reward 1, then the end"),
            Entry("square", HAZARD, "chasm: cost 1, back to (0, 0)"),
            Entry("none", INK, "Any cell is a start. One move in five is random."),
        ),
    ),
    "Safe/DeepSeaTreasure-v0": Film(
        **GRID,
        frames=20,
        still=2,
        starts=(14, 19, 9, 24),
        legend=(
            WALKER,
            Entry("square", GOAL, "treasure: reward 1, then the end"),
            Entry("square", HAZARD, "mine: cost 1 on the step from it"),
            Entry("none", INK, "Any cell is a start; each move sinks one row."),
        ),
    ),
    "Safe/RandomCMDP-v0": Film(
        optimal_policy,
        OPTIMAL,
        frames=12,
        milliseconds=250,
        still=3,
        legend=(
            Entry("dot", AGENT, "current state"),
            Entry("none", INK, "No goal and no hazard: every state and action"),
            Entry("none", INK, "has its own reward and cost in [0, 1]."),
        ),
    ),
    "Safe/DoubleIntegrator-v0": Film(
        predicted_by(LQRController),
        "The linear quadratic regulator drives it, from the edge of the safe set.",
        frames=60,
        milliseconds=50,
        stride=2,
        still=20,
        starts=((13.6, -7.0),),
        path_below=20.0,
        legend=(Entry("dot", AGENT, "state, with its path from the start"),),
    ),
    "Safe/ConstrainedRegression-v0": Film(
        best_answers,
        "Episodes of one step, answered by the best policy that stays in the band.",
        frames=24,
        milliseconds=150,
        still=3,
        legend=(Entry("none", INK, "An episode is one step: a question x, drawn, and an answer."),),
    ),
    "Safe/UnicycleCBF-v0": Film(
        backup,
        "A law that ignores the ellipses drives it, with every action repaired.",
        frames=28,
        milliseconds=80,
        stride=2,
        still=12,
        legend=(
            Entry("dot", AGENT, "vehicle, and the point that must stay outside"),
            Entry("dot", GOAL, "goal"),
            Entry("square", HAZARD, "each step inside costs 1"),
        ),
    ),
    "Safe/QCQP-v0": Film(
        answers_in_turn,
        "Episodes of one step, answered in turn by random numbers, by A+ x and by the optimum.",
        numbers=lambda step, rewards, info: (
            f"reward {round(rewards, 2) + 0.0:.2f}, cost {info['cost']:.2f}"
            if step
            else "before the answer: the rows of y = 0"
        ),
        frames=12,
        milliseconds=420,
        still=3,
        legend=(Entry("none", INK, "A bar for each row; every episode has another x."),),
    ),
    "Safe/Quadrotor-v0": Film(
        predicted_by(GeometricController),
        "The geometric controller flies it, and ignores obstacles. Twice as fast as real.",
        SPHERES,
        **FLIGHT,
    ),
    "Safe/QuadrotorColumn-v0": Film(
        predicted_by(GeometricController),
        "The geometric controller flies it, and ignores obstacles. Twice as fast as real.",
        SPHERES,
        **FLIGHT,
    ),
    "Safe/QuadrotorZCBF-v0": Film(
        predicted_by(GeometricController),
        "The geometric controller flies it behind the filter. Twice as fast as real.",
        SPHERES,
        **FLIGHT,
    ),
}
TOO_FAST = (200, 30, 30)
SLOW_ENOUGH = (60, 160, 60)
GAIT = "A gait found by random search for this picture moves it, not a trained agent."
FALLS = " It soon falls, which ends the episode."
STUMBLING = ("Hopper", "Humanoid", "Walker2d")


def robot_film(robot: str, way: str, stride: int, frames: int, still: int) -> Film:
    """Return how a robot is filmed, in real time.

    Args:
        robot: its name.
        way: where it should go, as seen in the picture.
        stride: steps from frame to frame.
        frames: of the moving picture.
        still: which of them is the picture.
    """
    limit = ROBOTS[robot].velocity_threshold
    quantity = "speed in any direction" if ROBOTS[robot].total_speed else "speed along x"
    return Film(
        policy=gait(robot),
        told=GAIT + (FALLS if robot in STUMBLING else ""),
        numbers=speed_of(robot),
        frames=frames,
        milliseconds=round(1000 * stride * STEP_TIMES.get(robot, 0.008)),
        stride=stride,
        still=still,
        scale=0.55,
        colors=48,
        legend=(
            Entry("none", INK, f"goal: move along x, {way}"),
            Entry("dot", SLOW_ENOUGH, f"{quantity} up to {limit:.2f} m/s"),
            Entry("dot", TOO_FAST, "faster: each step costs 1"),
        ),
    )


STEP_TIMES = {"Ant": 0.05, "HalfCheetah": 0.05, "Swimmer": 0.04, "Humanoid": 0.015}  # [s]
FILMS |= {
    f"Safety{robot}Velocity-v1": robot_film(robot, *rest)
    for robot, rest in {
        "Ant": ("toward the viewer", 2, 30, 20),
        "HalfCheetah": ("to the right", 2, 24, 20),
        "Hopper": ("to the right", 9, 30, 20),
        "Humanoid": ("to the right", 5, 30, 6),
        "Walker2d": ("to the right", 8, 30, 20),
        "Swimmer": ("to the right", 2, 38, 20),
    }.items()
}


def film_of(env_id: str) -> Film:
    """Return how an environment is filmed: as `FILMS` says, or with random actions."""
    return FILMS.get(env_id, RANDOM)


def main() -> None:
    """Film the environments named in the command line, or all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("ids", nargs="*", default=environment_ids(), help="environments to film")
    for env_id in options.parse_args().ids:
        write_film(env_id)


if __name__ == "__main__":
    main()
