"""Deployments to AWS: plans, rollouts, rollback, drift, cost."""
