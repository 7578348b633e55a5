"""Ways to price constraints: from measured violations to weights of the costs."""
