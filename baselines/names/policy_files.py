"""Finished policies as agents: an ONNX file, or a folder with policy_0.onnx, policy_1.onnx, ..."""

from __future__ import annotations

from pathlib import Path

ENDING = ".onnx"
OF_SEED = "policy_{}" + ENDING  # in a folder


def is_policy_file(agent: str) -> bool:
    """Return whether an agent is given as an ONNX file or as a folder with such files."""
    return agent.endswith(ENDING) or (Path(agent) / OF_SEED.format(0)).is_file()


def policy_label(agent: str) -> str:
    """Return the name that tables show: of the file or the folder alone."""
    return Path(agent).resolve().name


def policy_path(agent: str, seed: int) -> Path:
    """Return the file of a policy.

    Args:
        agent: the file, or the folder.
        seed: number of the file in a folder; a single file is the policy of every seed.

    Raises:
        ValueError: if there is none.
    """
    path = Path(agent)
    if path.is_dir():
        found = sorted(path.glob(OF_SEED.format("*")))
        path /= OF_SEED.format(seed)
        if not path.is_file():
            raise ValueError(
                f"{agent} has no {path.name} for seed {seed}; it has "
                f"{', '.join(one.name for one in found)}: pass their numbers as seeds"
            )
    if not path.is_file():
        raise ValueError(f"there is no file {path}; pass the path of an ONNX policy")
    return path.resolve()
