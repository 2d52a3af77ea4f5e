"""In which language a text is, as far as PostgreSQL's stemmers differ.

The commonest short words tell in a paragraph. A library would load a model into each process that reads a document,
for a choice among a dozen stemmers.
"""

from __future__ import annotations

import collections
import re

_WORDS = {
    "english": "the of and to in is that it was for on are as with his they at be this from have or by not but what",
    "german": "der die und den das von zu mit sich des auf für ist im dem nicht ein eine als auch es an werden aus",
    "french": "le la les des et en un une du que est pour qui dans par plus pas au sur ne se ce sont avec il aux",
    "spanish": "el la los las de que y en un una por con no para es al lo como más su sus pero fue este entre",
    "italian": "il di che la e un per una sono con non del della dei le gli nel alla più anche da come è dal",
    "portuguese": "o a os as de que e do da em um para com não uma dos no se na por mais das ao é foi pelo",
    "dutch": "de het een van en in is dat op te zijn met voor niet aan er om ook als dan maar bij uit door worden",
    "swedish": "och att det som en på är av för med den till inte ett om har de ej var jag så men från vi",
    "danish": "og at det som en på er af for med den til ikke et om har de var jeg så men fra vi der",
    "norwegian": "og at det som en på er av for med den til ikke et om har de var jeg så men fra vi der ble",
    "finnish": "ja on ei se että oli hän mutta ovat joka kun niin myös tai sen ole mukaan jos nyt sekä",
    "hungarian": "a az és hogy nem is egy ez volt van csak meg mint de ha már el még azt vagy kell",
    "romanian": "și de la în a că pe nu cu este o un din pentru mai care sau prin sunt au fi",
    "turkish": "ve bir bu da de için ile çok olarak daha ne gibi olan en var o ama kadar sonra ya",
}
STEMMERS = frozenset(_WORDS)
"""Configurations of PostgreSQL's text search that are used, beside ``simple``."""
_SETS = {language: frozenset(word for word in words.split() if len(word) > 1) for language, words in _WORDS.items()}
"""Without single letters, which are words of one kind or another everywhere."""
_SPOKEN = collections.Counter(word for words in _SETS.values() for word in words)
"""In how many languages a word is: the more, the less it tells."""
_WORD = re.compile(r"[^\W\d_]+")
SAMPLE = 4000
_LEAST = 4
_SHARE = 0.07


def language_of(text: str) -> str | None:
    """The configuration for a text's language; None where the text is too short, or like none of them."""
    words = [word.lower() for word in _WORD.findall(text[:SAMPLE])]
    if len(words) < _LEAST:
        return None
    scores = {
        language: sum(1 / _SPOKEN[word] for word in words if word in common) for language, common in _SETS.items()
    }
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] >= max(1.0, _SHARE * len(words)) else None
