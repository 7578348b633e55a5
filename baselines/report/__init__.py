"""What a comparison shows: tables, plots, and one HTML report."""
