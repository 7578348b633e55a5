"""Networks with constraint layers, trained on families of programs."""
