"""Plain SQL of the table that says of what markets a journal tells, for ``migrations``; released, so never edited."""

OWNER_TABLES = (
    """
    CREATE TABLE owner (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        markets TEXT NOT NULL CHECK (markets IN ('paper', 'real'))
    )
    """,
)
