"""Time resets and steps of an environment; a script for an interpreter with the genuine package.

    PYTHON baselines/benchmarks/peers/genuine_tasks.py ENV_ID RESETS STEPS REPEATS

prints the least CPU seconds of a reset and of a step as JSON. This file imports nothing of this
project; safety-gymnasium 1.0.0 needs Python 3.10 or older.
"""

import contextlib
import io
import json
import sys
import time
import warnings


def least_times(env, resets, steps, repeats):  # type: ignore[no-untyped-def]
    """Return the least CPU seconds of a reset and of a step, by random actions."""
    least = {"reset": float("inf"), "step": float("inf")}
    for _ in range(repeats):
        spent = {"reset": 0.0, "step": 0.0}
        for _ in range(resets):
            began = time.process_time()
            env.reset()
            spent["reset"] += time.process_time() - began
        for _ in range(steps):
            action = env.action_space.sample()
            began = time.process_time()
            *_, terminated, truncated, _ = env.step(action)
            spent["step"] += time.process_time() - began
            if terminated or truncated:
                env.reset()
        least["reset"] = min(least["reset"], spent["reset"] / resets)
        least["step"] = min(least["step"], spent["step"] / steps)
    return least


def main() -> None:
    """Measure as the command line says."""
    env_id = sys.argv[1]
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import safety_gymnasium

        env = safety_gymnasium.make(env_id)
        env.action_space.seed(0)
        env.reset(seed=0)
        least = least_times(env, *(int(word) for word in sys.argv[2:5]))
    print(json.dumps(least))


if __name__ == "__main__":
    main()
