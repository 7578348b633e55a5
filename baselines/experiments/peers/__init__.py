"""Scripts that another interpreter runs, with packages that this project cannot import."""
