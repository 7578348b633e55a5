"""What experiments share that train in worker processes and compare means over seeds."""
