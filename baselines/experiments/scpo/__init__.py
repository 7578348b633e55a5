"""Parts of the experiments of SCPO's paper."""
