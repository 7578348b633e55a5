"""The parts of the benchmark of training: settings, learners, floors and minibatches."""
