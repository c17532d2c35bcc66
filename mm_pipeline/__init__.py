"""Watchdog for crypto grid-trading bots: regime, exit and entry states with their reasons, every 15 minutes."""

__version__ = "0.1.0"
