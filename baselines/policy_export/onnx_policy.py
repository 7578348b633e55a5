"""A policy in an ONNX file, of this project or of another library, as something that acts.

The format is that of `policy_export`: one float32 input (batch, n), the flattened observation, and
outputs `action`, or `logits`, or `mean` and `log_std`. The file is read from bytes on one thread,
with the standard operators only and nothing outside of the file. That is no protection against a
file that is made to do harm, as the leaderboard has it: use files of people you trust.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
from gymnasium import spaces
from scipy.special import expit, softmax

from baselines.policy_export.policy_parity import flat_observations, onnx_session

STANDARD = ("", "ai.onnx")  # domains of operators
OUTPUTS = ("action", "logits", "mean", "log_std")
WHOLE = ("tensor(int64)", "tensor(int32)")
CHECKED = 8  # observations
AGREEMENT = 1e-5  # of an action and its mean, in shares of the range
LARGEST_LOG_STD = 20.0  # beyond the log of the range: every draw is at a bound anyway


class PolicyFileError(ValueError):
    """The file is not a policy for this environment."""


class OnnxPolicy:
    """Chooses the actions of an environment by an ONNX file.

    Args:
        content: of the file.
        observation_space: of the environment.
        action_space: of the environment.
        seed: of the draws, if the file gives a distribution.

    Raises:
        PolicyFileError: if it is no ONNX file, holds something else than one standard graph, or
            does not fit the spaces.
    """

    def __init__(
        self, content: bytes, observation_space: spaces.Space, action_space: Any, seed: int
    ) -> None:
        _check_standard(content)
        try:
            self._session = onnx_session(content)
        except Exception as error:  # of ONNX Runtime, which has a dozen kinds
            raise PolicyFileError(
                f"ONNX Runtime cannot load the file: {_one_line(error)}"
            ) from error
        self._observations, self._actions = observation_space, action_space
        self._rng = np.random.default_rng(seed)
        self._input = self._session.get_inputs()[0].name
        self._names = [o.name for o in self._session.get_outputs() if o.name in OUTPUTS]
        self._check_signature()
        self._check_answers()

    @property
    def has_distribution(self) -> bool:
        """Whether actions can be drawn as in training; else both modes act the same."""
        return "logits" in self._names or {"mean", "log_std"} <= {*self._names}

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, None]:
        """Return actions (N, ...) for N observations; the policy has no memory.

        Raises:
            PolicyFileError: if the file fails, or answers with a wrong shape or numbers that are
                not finite.
        """
        flat = flat_observations(self._observations, observation)
        found = self._outputs(flat)
        draws = self.has_distribution and not deterministic
        actions = self._drawn(found) if draws else self._most_likely(found)
        return self._in_space(actions, len(flat)), None

    def probabilities(self, observations: Any, deterministic: bool) -> np.ndarray | None:
        """Return the probabilities of a Discrete space's actions, (N, n).

        None for other actions, and for draws of a file that gives no logits: it has none.

        Args:
            observations: (N, ...).
            deterministic: as in `predict`.
        """
        space = self._actions
        if not isinstance(space, spaces.Discrete):
            return None
        if deterministic or not self.has_distribution:
            chosen = self.predict(observations, deterministic=True)[0] - int(space.start)
            certain: np.ndarray = np.eye(int(space.n))[chosen]
            return certain
        flat = flat_observations(self._observations, observations)
        likely: np.ndarray = softmax(self._outputs(flat)["logits"].astype(np.float64), axis=1)
        return likely

    def _outputs(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs for flattened observations (N, n), all finite."""
        try:
            outputs = self._session.run(self._names, {self._input: flat})
        except Exception as error:  # of ONNX Runtime, which has a dozen kinds
            raise PolicyFileError(f"ONNX Runtime failed: {_one_line(error)}") from error
        found = dict(zip(self._names, outputs, strict=True))
        for name, numbers in found.items():
            if not np.isfinite(numbers).all():
                raise PolicyFileError(f"{name!r} of the file is not finite")
        if "log_std" in found:
            with np.errstate(over="ignore"):
                deviations = np.exp(found["log_std"].astype(np.float64))
            if not np.isfinite(deviations).all():
                raise PolicyFileError(
                    f"'log_std' of the file reaches {found['log_std'].max():g}, so that the "
                    "deviation is not finite; it has to be the natural logarithm of the deviation"
                )
        return found

    def _most_likely(self, found: dict[str, np.ndarray]) -> np.ndarray:
        if "action" in found:
            return found["action"]
        if "mean" in found:
            return found["mean"]
        if isinstance(self._actions, spaces.MultiBinary):
            return found["logits"] > 0.0
        return np.stack([one.argmax(axis=1) for one in self._choices(found["logits"])], axis=1)

    def _drawn(self, found: dict[str, np.ndarray]) -> np.ndarray:
        if "mean" in found:
            mean = found["mean"].astype(np.float64)
            deviation = np.exp(np.minimum(found["log_std"].astype(np.float64), LARGEST_LOG_STD))
            return mean + deviation * self._rng.standard_normal(mean.shape)
        logits = found["logits"].astype(np.float64)
        if isinstance(self._actions, spaces.MultiBinary):
            return self._rng.random(logits.shape) < expit(logits)
        noisy = [one + self._rng.gumbel(size=one.shape) for one in self._choices(logits)]
        return np.stack([one.argmax(axis=1) for one in noisy], axis=1)

    def _choices(self, logits: np.ndarray) -> list[np.ndarray]:
        """Return the logits of each number, (N, choices)."""
        space = self._actions
        sizes = space.nvec.ravel() if isinstance(space, spaces.MultiDiscrete) else [space.n]
        if logits.shape[1:] != (sum(sizes),):
            raise PolicyFileError(
                f"the file answers with logits of shape {logits.shape}; actions are {space}, so "
                f"(batch, {sum(sizes)}) is needed"
            )
        return np.split(logits, np.cumsum(sizes)[:-1], axis=1)

    def _in_space(self, actions: np.ndarray, count: int) -> np.ndarray:
        """Return actions (N, ...) of the space: clipped if Box, counted from the space's start."""
        space = self._actions
        try:
            shaped = actions.reshape(count, *(space.shape or ()))
        except ValueError:
            raise PolicyFileError(
                f"the file answers with shape {actions.shape} for {count} observations; actions "
                f"are {space}"
            ) from None
        if isinstance(space, spaces.Box):
            whole = np.issubdtype(space.dtype, np.integer)
            shaped = np.rint(shaped) if whole else shaped
            clipped: np.ndarray = np.clip(shaped, space.low, space.high).astype(space.dtype)
            return clipped
        start = getattr(space, "start", 0)
        return shaped.astype(np.int64) + np.asarray(start, dtype=np.int64)

    def _check_signature(self) -> None:
        size = spaces.flatdim(self._observations)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or inputs[0].shape[1:] != [size]:
            shown = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise PolicyFileError(
                f"the file takes {shown}; the environment's observations are {self._observations}: "
                f"one float32 input (batch, {size}) is needed, as gymnasium.spaces.flatten gives it"
            )
        is_box = isinstance(self._actions, spaces.Box)
        foreign = {"logits"} if is_box else {"mean", "log_std"}
        types = {one.name: one.type for one in self._session.get_outputs()}
        whole = types.get("action", WHOLE[0]) in WHOLE
        needed = bool({"action", "mean"} & {*self._names}) if is_box else bool(self._names)
        if foreign & {*self._names} or not needed or not (whole or is_box):
            allowed = "action, or mean and log_std" if is_box else "logits, or action of integers"
            raise PolicyFileError(
                f"the file's outputs are {types}; for {self._actions} they have to be {allowed}"
            )

    def _check_answers(self) -> None:
        """Raise PolicyFileError if actions are outside of the space or contradict their source."""
        batch = self._sampled_observations()
        for deterministic in (True, False):
            for action in self.predict(batch, deterministic=deterministic)[0]:
                if not self._actions.contains(action):
                    raise PolicyFileError(
                        f"the file answers with the action {action!r}, which is not in "
                        f"{self._actions}"
                    )
        found = self._outputs(flat_observations(self._observations, batch))
        if "action" in found and "mean" in found:
            self._check_action_of_mean(found["action"], found["mean"])
        if "action" in found and "logits" in found:
            self._check_action_of_logits(found["action"], found["logits"])

    def _sampled_observations(self) -> Any:
        """Return observations (CHECKED, ...), always the same ones."""
        own = copy.deepcopy(self._observations)  # seeding must not touch the environment's
        own.seed(0)
        samples = [own.sample() for _ in range(CHECKED)]
        if isinstance(samples[0], dict):
            return {key: np.array([one[key] for one in samples]) for key in samples[0]}
        return np.array(samples)

    def _check_action_of_mean(self, action: np.ndarray, mean: np.ndarray) -> None:
        """Raise PolicyFileError unless the action is the mean within the bounds, up to rounding."""
        space = self._actions
        low, high = (bound.ravel().astype(np.float64) for bound in (space.low, space.high))
        given = action.reshape(CHECKED, -1).astype(np.float64)
        expected = np.clip(mean.reshape(CHECKED, -1).astype(np.float64), low, high)
        size = np.maximum(np.abs(expected), np.abs(given))
        with np.errstate(over="ignore"):
            extent = high - low
        scale = np.where(np.isfinite(extent), extent, np.maximum(size, 1.0))
        allowed = AGREEMENT * scale + 2.0 * np.finfo(np.float32).eps * size
        if np.issubdtype(space.dtype, np.integer):
            allowed += 0.5
        wrong = np.argwhere(np.abs(given - expected) > allowed)
        if len(wrong):
            row = wrong[0, 0]
            raise PolicyFileError(
                f"the file answers with the action {given[row]}, but its mean within the bounds is "
                f"{expected[row]}; export action as the mean, clipped to the bounds, or only one "
                "of the two"
            )

    def _check_action_of_logits(self, action: np.ndarray, logits: np.ndarray) -> None:
        """Raise PolicyFileError unless every number is a most likely one; ties are free."""
        given = action.reshape(CHECKED, -1).astype(np.int64)
        if isinstance(self._actions, spaces.MultiBinary):
            lost = np.where(given == 1, -logits.reshape(given.shape), logits.reshape(given.shape))
        else:
            lost = np.stack(
                [
                    one.max(axis=1) - np.take_along_axis(one, chosen[:, None], axis=1)[:, 0]
                    for one, chosen in zip(self._choices(logits), given.T, strict=True)
                ],
                axis=1,
            )
        tied = AGREEMENT * np.maximum(np.abs(logits).max(), 1.0)
        wrong = np.argwhere(lost > tied)
        if len(wrong):
            row = wrong[0, 0]
            raise PolicyFileError(
                f"the file answers with the action {given[row]}, which its logits "
                f"{logits[row]} do not make the most likely one; export action as their argmax, or "
                "only one of the two"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_standard(content: bytes) -> None:
    """Raise PolicyFileError unless the file is a graph of standard operators with its own data."""
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protobuf
        raise PolicyFileError(f"this is no ONNX file: {error}") from error
    foreign = sorted({one.domain for one in model.graph.node} - {*STANDARD})
    if foreign or model.functions:
        raise PolicyFileError(
            f"the file uses operators of {', '.join(foreign) or 'its own'}; only the standard ones "
            "of ONNX are run"
        )
    outside = [one.name for one in model.graph.initializer if one.external_data]
    if outside:
        raise PolicyFileError(
            f"the numbers of {outside[0]} are in another file; export with external_data=False"
        )
