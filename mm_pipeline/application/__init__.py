"""Use cases on plain parts: one run of the watch, from grid files to pages. Knows no Dagster."""
