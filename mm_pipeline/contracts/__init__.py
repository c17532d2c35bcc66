"""What each frame promises: columns, types and rules. Knows no Dagster."""
