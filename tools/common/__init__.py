"""Shared by several packages: locations, versions, the list of services, files, progress messages."""
