"""The speed benchmarks, one file each; `python -m baselines.benchmarks` lists them."""
