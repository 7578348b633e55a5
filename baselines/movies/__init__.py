"""Episodes as movies: frames that show each cost and its limit, and the files of movies."""
