"""Plain SQL of the table of flat checks, for ``migrations``; released, so never edited."""

FLAT_TABLES = (
    """
    CREATE TABLE flat_checks (
        id {identity},
        grid TEXT NOT NULL,
        said_at BIGINT NOT NULL,
        evaluated_at BIGINT NOT NULL,
        read_at BIGINT NOT NULL,
        finding TEXT NOT NULL CHECK (finding IN ('holds', 'clear', 'unread', 'not_seen')),
        base_total DOUBLE PRECISION,
        held_base DOUBLE PRECISION,
        open_orders INTEGER,
        recorded_at BIGINT NOT NULL,
        settings_hash TEXT NOT NULL,
        code_version TEXT NOT NULL,
        UNIQUE (grid, said_at, evaluated_at)
    )
    """,
    "CREATE INDEX flat_checks_by_grid ON flat_checks (grid, evaluated_at)",
)
FLAT_KEYS = {"flat_checks": ("grid", "said_at", "evaluated_at")}
