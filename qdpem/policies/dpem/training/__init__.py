"""Training of DPEM: PPO, federated averaging with differential privacy, checkpoints."""
