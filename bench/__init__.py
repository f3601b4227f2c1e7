"""The proxy path against its peers, by one command: `python -m bench`."""
