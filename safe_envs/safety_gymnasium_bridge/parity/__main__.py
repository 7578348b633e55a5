"""The command `python -m safe_envs.safety_gymnasium_bridge.parity`."""

import sys

from safe_envs.safety_gymnasium_bridge.parity.report import main

if __name__ == "__main__":
    sys.exit(main())
