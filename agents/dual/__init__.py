"""Ways to price constraints: they turn measured violations into weights of the costs."""
