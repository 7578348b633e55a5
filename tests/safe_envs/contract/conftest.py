"""The threaded form is tested on a task of the original package, if that is installed."""

import importlib.util

collect_ignore = []
if importlib.util.find_spec("safety_gymnasium") is None:
    collect_ignore = ["test_threaded_vector_env.py"]
