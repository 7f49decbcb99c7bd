"""Checks, test runs and the commands of workflows."""
