"""The journal as a resource: opened when first asked, closed with the run."""

import dagster as dg
from pydantic import PrivateAttr

from mm_pipeline.adapters.journal import Journal


class JournalResource(dg.ConfigurableResource[Journal]):
    """The journal in the database at ``url`` (``sqlite:////absolute/path`` or ``postgresql://...``)."""

    url: str
    _journal: Journal | None = PrivateAttr(default=None)

    def open(self) -> Journal:
        """The open journal; the same one for the whole run."""
        if self._journal is None:
            self._journal = Journal(self.url)
        return self._journal

    def close(self) -> None:
        """Close its connections; :meth:`open` opens it again."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close it with the run."""
        self.close()
