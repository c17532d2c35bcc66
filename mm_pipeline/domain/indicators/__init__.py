"""Indicators: array -> array of the same length, NaN where the lookback is not yet there.

Every value is a function of exactly its last ``lookback`` bars, so that a live tick, a month and a year agree.
Nothing here knows thresholds, frames or timeframes.
"""
