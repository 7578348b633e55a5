"""The command `python -m leaderboard.load_benchmark`: measures the service under load."""

import sys

from leaderboard.benchmarks.load import main

if __name__ == "__main__":
    sys.exit(main())
