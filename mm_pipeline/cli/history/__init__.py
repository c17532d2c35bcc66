"""Commands about the past: replay, simulate, calibrate, backfill."""
