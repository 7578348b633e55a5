"""Files of agents: JSON and tensors in a zip, from which nothing is ever executed."""
