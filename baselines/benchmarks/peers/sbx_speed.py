"""Train the PPO of SBX (JAX) and print its CPU time as JSON; run by an interpreter that has it.

    PYTHON baselines/benchmarks/peers/sbx_speed.py ENV_ID STEPS UPDATES PASSES BATCH_SIZE NUM_ENVS

with STEPS per update of all environments together. A rollout and an update of one pass come first
and are not counted: they compile all functions. This file imports nothing of this project; it needs
`pip install sbx-rl "gymnasium[mujoco]"`.
"""

import json
import os
import sys
import time
import warnings

if sys.platform == "linux":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # JAX makes one thread per processor
warnings.simplefilter("ignore")


def main() -> None:
    """Train as the command line says."""
    from sbx import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    env_id = sys.argv[1]
    steps, updates, passes, batch_size, num_envs = (int(word) for word in sys.argv[2:7])
    agent = PPO(
        "MlpPolicy",
        VecNormalize(make_vec_env(env_id, num_envs), norm_reward=False),
        n_steps=steps // num_envs,
        n_epochs=1,
        batch_size=batch_size,
        seed=0,
    )
    agent.learn(steps)
    agent.n_epochs = passes
    spent = {"update": 0.0}
    train = agent.train

    def timed() -> None:
        began = time.process_time()
        train()
        spent["update"] += time.process_time() - began

    agent.train = timed
    began = time.process_time()
    agent.learn(steps * updates)
    total = time.process_time() - began
    print(json.dumps({"total": total, "update": spent["update"], "steps": steps * updates}))


if __name__ == "__main__":
    main()
