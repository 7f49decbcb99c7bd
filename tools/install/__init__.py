"""The installer: everything below `.tools/`. It starts on a bare Python 3.9."""
