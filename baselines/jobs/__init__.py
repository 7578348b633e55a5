"""Jobs: what decides a result, how it is computed, and the folder it is kept in."""
