"""The velocity task for one robot, with its simulation open to users of MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from safe_envs.contract.dynamics import ScalarStart, ScalarStep
from safe_envs.velocity.camera import FrameView, TrackingCamera
from safe_envs.velocity.physics import RobotPhysics


class ScalarVelocity:
    """The velocity task for one robot; its infos also have Gymnasium's own entries.

    At first a state is a row of the physics, as in the batched form, and MuJoCo's data is scratch
    space. `open` turns this around: the data is the state, on a model of its own, and the user may
    write to both. What is simulated is the same, bit for bit.

    Args:
        physics: the robot.
        view: what frames show.

    Attributes:
        physics: the robot; after `open` with a model of its own.
        camera: draws frames.
        around: the state (qpos, qvel) around which episodes start, (nq + nv,).
    """

    def __init__(self, physics: RobotPhysics, view: FrameView) -> None:
        self.physics = physics
        self.camera = TrackingCamera(physics, view)
        self.around = physics.standing()
        self._data: Any = physics.new_data()
        self._before: np.ndarray | None = None  # the row before the last step; None after a reset
        self._loaded: np.ndarray | None = None  # the row whose state the scratch space is in
        self._is_open = False

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Draw a first state around the standing pose, or take the one given, (nq + nv,)."""
        physics = self.physics
        if "state" in options:
            start = physics.checked_starts(options["state"], ())
        else:
            start = physics.draw_start(rng, self.around)
        row = np.empty(physics.width)
        physics.start(self._data, start, row)
        self._before, self._loaded = None, row
        details = physics.start_details(row, _length)
        return row, physics.observe(row), physics.excess(row), details

    def step(
        self, state: np.ndarray, action: np.ndarray, rng: np.random.Generator | None = None
    ) -> ScalarStep:
        """Simulate one environment step; the cost is for the average velocity."""
        physics = self.physics
        if self._is_open:
            reached = self._step_data(state, action)
        else:
            reached = np.empty(physics.width)
            if self._loaded is not state:
                physics.load(self._data, state)
            self._loaded = None  # until the step is complete
            physics.advance(self._data, state, action, reached)
            self._before, self._loaded = state, reached
        outcome = physics.outcome(action, reached)
        excess = physics.excess(reached)
        return (
            reached,
            physics.observe(reached),
            float(outcome.reward),
            1.0 if excess[0] > 0.0 else 0.0,
            bool(outcome.terminated),
            None,
            excess,
            physics.details(reached, outcome, _length),
        )

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the robot and the ball above it."""
        return self.camera.draw(self.row(state))

    def row(self, state: np.ndarray) -> np.ndarray:
        """Return the row of the state, with the user's changes."""
        if not self._is_open:
            return state
        row = state.copy()  # for its velocity
        self.physics.read(self._data, row)
        return row

    def open(self, state: np.ndarray | None) -> Any:
        """Return MuJoCo's data in the state (None: before the first reset), from now on the state.

        Data and model belong to this robot alone, so changes to the model affect only it.
        """
        if not self._is_open:
            self.physics = physics = self.physics.private()
            self._data = physics.new_data()
            if state is not None and self._before is not None:
                physics.replay(self._data, self._before, state)
            elif state is not None:
                physics.start(self._data, physics.start_of(state), np.empty_like(state))
            self.camera.follow(physics)
            self._before = self._loaded = None
            self._is_open = True
        self.physics.follow_model()
        return self._data

    def close(self) -> None:
        """Free the camera."""
        self.camera.close()

    def _step_data(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Return the row that is reached from the data as the user has left it."""
        physics = self.physics
        physics.follow_model()
        row, reached = np.empty_like(state), np.empty_like(state)
        physics.read(self._data, row)
        physics.simulate(self._data, action, physics.robot.frame_skip)
        physics.read(self._data, reached)
        physics.write_velocity(row, reached)
        return reached

    def __getstate__(self) -> dict[str, Any]:
        if self._is_open:  # copies of data hold copies of its model
            return self.__dict__ | {"physics": self.physics.robot}
        return self.__dict__ | {"_data": None, "_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._is_open:
            self.physics = RobotPhysics(state["physics"], self._data.model, shared=False)
        else:
            self._data = self.physics.new_data()
        self.camera.follow(self.physics)


def _length(vector: np.ndarray) -> np.float64:
    return np.sqrt(vector.dot(vector))
