"""mm up: the watch under supervision."""
