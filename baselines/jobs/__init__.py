"""Jobs: what determines a result, how it is computed, and the folder where it is kept."""
