"""The running mean and variance of observations, kept as plain arrays beside the model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from baselines.atomic_files import write_atomically

FILE = "normalization.npz"


def save_normalization(venv: VecEnv, folder: Path) -> None:
    """Write normalization.npz if the observations are standardized."""
    if not isinstance(venv, VecNormalize):
        return
    moments = moments_of(venv)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        mean=moments.mean,
        variance=moments.var,
        count=np.float64(moments.count),
        epsilon=np.float64(venv.epsilon),
        clip=np.float64(venv.clip_obs),
    )
    write_atomically(folder / FILE, buffer.getvalue())


def frozen_normalization(venv: VecEnv, folder: Path) -> VecEnv:
    """Return the environments with the observations standardized as in training, if they were."""
    path = folder / FILE
    if not path.exists():
        return venv
    with np.load(path, allow_pickle=False) as arrays:
        frozen = VecNormalize(
            venv,
            training=False,
            norm_obs=True,
            norm_reward=False,
            clip_obs=float(arrays["clip"]),
            epsilon=float(arrays["epsilon"]),
        )
        moments = moments_of(frozen)
        moments.mean, moments.var = arrays["mean"], arrays["variance"]
        moments.count = float(arrays["count"])
    return frozen


def moments_of(venv: VecNormalize) -> RunningMeanStd:
    """Return mean and variance of the observations so far."""
    assert isinstance(venv.obs_rms, RunningMeanStd), "make_training_env standardizes Box only"
    return venv.obs_rms
