"""Train OmniSafe's PPO-Lag and print its CPU time as JSON; run by an interpreter that has it.

    PYTHON baselines/benchmarks/peers/omnisafe_speed.py ENV_ID STEPS EPOCHS PASSES BATCH_SIZE

with STEPS per epoch. This file imports nothing of this project; OmniSafe 0.5.0 needs Python 3.10 or
older.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time


def main() -> None:
    """Train as the command line says."""
    env_id = sys.argv[1]
    steps, epochs, passes, batch_size = (int(word) for word in sys.argv[2:6])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import omnisafe
        from omnisafe.algorithms.on_policy import PPOLag

        settings = {
            "seed": 0,
            "train_cfgs": {
                "total_steps": steps * epochs,
                "torch_threads": 1,
                "vector_env_nums": 1,
                "parallel": 1,
            },
            "algo_cfgs": {
                "steps_per_epoch": steps,
                "update_iters": passes,
                "batch_size": batch_size,
                "kl_early_stop": False,
            },
            "logger_cfgs": {"use_wandb": False, "use_tensorboard": False, "save_model_freq": 10**6},
        }
        spent = {"update": 0.0}
        original = PPOLag._update

        def timed(agent: PPOLag) -> None:
            began = time.process_time()
            original(agent)
            spent["update"] += time.process_time() - began

        PPOLag._update = timed
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            agent = omnisafe.Agent("PPOLag", env_id, custom_cfgs=settings)
            began = time.process_time()
            agent.learn()
            total = time.process_time() - began
    print(json.dumps({"total": total, "update": spent["update"], "steps": steps * epochs}))


if __name__ == "__main__":
    main()
