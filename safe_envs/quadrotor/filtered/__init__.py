"""The quadrotor behind its safety filter: barrier, metrics, learned action value, backup policy."""
