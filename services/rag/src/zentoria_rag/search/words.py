"""Full text: PostgreSQL's stemmers, and rare words count more than common ones."""

from __future__ import annotations

import dataclasses
import uuid

import sqlalchemy
from zentoria_common.database import Database

from zentoria_rag.index.conditions import conditions
from zentoria_rag.index.model import Filters, Owner

MOST_WORDS = 40


@dataclasses.dataclass(frozen=True)
class Worded:
    """A passage that was found by words; ``score`` is the weight of its words in the question's, 0 to 1."""

    chunk_id: uuid.UUID
    score: float


# Each language's stemmer gives its lexemes of the question; a passage is asked for those of its own language. A word's
# weight is its inverse document frequency among the owner's current passages (as BM25 has it); passages are about
# equally long, so that their lengths, and how often a word comes, add little: ts_rank decides between equals.
_SEARCH = """
WITH mine AS NOT MATERIALIZED (
    SELECT c.id, c.language, c.words FROM document_chunks c
    JOIN documents d ON d.file_id = c.file_id AND d.file_version = c.file_version
    WHERE c.user_id = :owner AND d.current{where}
), languages AS (
    SELECT language, count(*) AS passages FROM mine GROUP BY language
), asked AS (
    SELECT DISTINCT l.language, w.lexeme
    FROM languages l, unnest(to_tsvector(CAST(l.language AS regconfig), :text)) w
    LIMIT {most}
), total AS (
    SELECT greatest(sum(passages), 1) AS passages FROM languages
), found AS (
    SELECT m.id, m.language, m.words, a.lexeme
    FROM asked a JOIN mine m ON m.language = a.language
     AND m.words @@ CAST(quote_literal(a.lexeme) AS tsquery)
), weights AS (
    SELECT a.language, a.lexeme,
           ln(1 + (t.passages - count(f.id) + 0.5) / (count(f.id) + 0.5)) AS weight
    FROM asked a CROSS JOIN total t
    LEFT JOIN found f ON f.language = a.language AND f.lexeme = a.lexeme
    GROUP BY a.language, a.lexeme, t.passages
), wholes AS (
    SELECT language, sum(weight) AS whole,
           CAST(string_agg(quote_literal(lexeme), ' | ') AS tsquery) AS query
    FROM weights GROUP BY language
)
SELECT f.id, sum(w.weight) / max(o.whole) AS score
FROM found f
JOIN weights w ON w.language = f.language AND w.lexeme = f.lexeme
JOIN wholes o ON o.language = f.language
GROUP BY f.id, f.words, o.query
ORDER BY score DESC, ts_rank(f.words, o.query) DESC, f.id
LIMIT :limit
"""


async def search(database: Database, owner: Owner, text: str, filters: Filters, limit: int) -> list[Worded]:
    """Passages of ``owner``'s current documents that have words of ``text``, the best first.

    Raises:
        Unavailable: the database does not answer.
    """
    where, values = conditions(filters)
    statement = sqlalchemy.text(_SEARCH.format(where=where, most=MOST_WORDS))
    async with database.session(owner.id) as session:
        rows = (await session.execute(statement, {**values, "owner": owner.id, "text": text, "limit": limit})).all()
    return [Worded(row[0], float(row[1])) for row in rows]
