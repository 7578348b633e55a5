"""Updates of policies in NumPy, by hand-derived gradients; `docs/update_kernel.md` derives them."""
