"""Simulated markets: regimes, price paths, bars."""
