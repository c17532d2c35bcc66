"""The HTTP server of the paper exchange, and the faults that it can play."""
