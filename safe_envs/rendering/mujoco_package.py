"""MuJoCo, an optional package that simulates some environments and draws others."""

from __future__ import annotations

from types import ModuleType

from gymnasium.error import DependencyNotInstalled


def load_mujoco(wanted_by: str = "this environment", alternative: str = "") -> ModuleType:
    """Return the module mujoco, imported when it is first needed.

    Args:
        wanted_by: what needs it, for the error.
        alternative: what to do without it, such as ", or pass another argument"; ends the error.

    Raises:
        gym.error.DependencyNotInstalled: if it is missing; the error gives the pip command.
    """
    try:
        import mujoco
    except ImportError as error:
        raise DependencyNotInstalled(
            f'{wanted_by} needs mujoco; install it with: pip install "safe-envs[mujoco]"'
            f"{alternative}"
        ) from error
    return mujoco
