"""Plain SQL of the table of rows that were set aside, for ``migrations``; released, so never edited."""

SET_ASIDE_TABLES = (
    """
    CREATE TABLE set_aside (
        id {identity},
        of_table TEXT NOT NULL,
        row_id BIGINT NOT NULL,
        content TEXT NOT NULL,
        reason TEXT NOT NULL,
        at BIGINT NOT NULL
    )
    """,
    "CREATE INDEX set_aside_by_row ON set_aside (of_table, row_id)",
)
SET_ASIDE_KEYS = {"set_aside": ("id",)}
MAY_BE_SET_ASIDE = (
    "grid_versions",
    "evaluations",
    "market_notices",
    "pages",
    "decisions",
    "delivery_events",
    "responses",
    "flat_checks",
)
