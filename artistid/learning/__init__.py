"""Training: the system that learns, its callbacks and loggers, checkpoints, and the baselines."""
