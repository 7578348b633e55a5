"""The experiments, one file each; `python -m baselines.experiments` lists them."""
