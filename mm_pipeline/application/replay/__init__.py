"""Replays a policy over candle files: what it needs, and the tables that it gives."""
