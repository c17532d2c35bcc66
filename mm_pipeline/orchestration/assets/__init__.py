"""The assets, one module a stage: candles -> regime_metrics -> regime -> grid_analysis -> exit_states, entry_states.

A body reads its inputs, calls the domain once per market or grid, and returns. How things are computed does not belong
here.
"""
