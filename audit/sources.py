"""
What else than events the chain seals: streams of rows, each numbered from 1 without a gap.

An app above registers its own in ``AppConfig.ready()``; the ledger's streams are wallets.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """
    How the rows of a source are found and read, in SQL, so that a reader needs none of its models.

    ``heads`` selects ``stream_id`` and ``number``, the last of each stream; ``recent`` the same of
    those that moved since the UUIDv7 ``%(since)s``, and may leave out what was long in committing.

    ``rows`` selects the rows of ``{ranges}``, a table ``r`` of ``stream_id``, ``first`` and
    ``last``: stream, number, all that is sealed as one value of bytes, the digest, the salt and the
    words of the row's free text, and whether they are erased. The digest, SHA-256 of salt and
    words, is sealed, they are not. ``no_text`` is what the words are once they are erased.
    """

    name: str
    heads: str
    recent: str
    rows: str
    no_text: str

    def rows_in(self, ranges: str) -> str:
        """Return the statement that selects the rows of ``ranges``, in order."""
        return f"{self.rows.format(ranges=ranges)} ORDER BY 1, 2"


SOURCES: dict[str, Source] = {}


def register(source: Source) -> None:
    SOURCES[source.name] = source
