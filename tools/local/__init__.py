"""Local runs of the system, and the template of a new service."""
