"""Files that people write: settings, grids, calibration tables, and the home where all is kept."""
