"""Runs study grids: their candles, states, pages and outcomes, in a place of their own.

Nothing here opens the journal or the frames of the watch.
"""
