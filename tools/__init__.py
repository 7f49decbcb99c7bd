"""The scripts behind `make`. Each package has one subject; run a module as `python3 -m tools.PACKAGE.MODULE`."""
