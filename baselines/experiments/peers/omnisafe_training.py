"""Train OmniSafe's PPOLag and log its progress; run by an interpreter that has OmniSafe.

    PYTHON baselines/experiments/peers/omnisafe_training.py ENV_ID SEED STEPS FOLDER

Settings are those of OmniSafe 0.5.0 (one environment, 20,000 steps per epoch), except that means
are taken over the episodes of one epoch. The log is the file progress.csv below FOLDER, written
during the training. This file imports nothing of this project; OmniSafe 0.5.0 needs Python 3.10 or
older.
"""

import sys
from pathlib import Path

STEPS_PER_EPOCH = 20_000  # OmniSafe's setting


def main() -> None:
    """Train as the command line says."""
    env_id, seed, steps, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    import omnisafe

    settings = {
        "seed": seed,
        "train_cfgs": {"total_steps": steps, "torch_threads": 1},
        "algo_cfgs": {"steps_per_epoch": STEPS_PER_EPOCH},
        "logger_cfgs": {
            "use_wandb": False,
            "use_tensorboard": False,
            "save_model_freq": 10**6,
            "window_lens": STEPS_PER_EPOCH // 1_000,  # the episodes of one epoch
            "log_dir": str(folder),
        },
    }
    agent = omnisafe.Agent("PPOLag", env_id, custom_cfgs=settings)
    agent.learn()


if __name__ == "__main__":
    main()
