"""The embedding model's own tokenizer, by which passages are measured."""

from __future__ import annotations

import functools
import gzip
from importlib import resources

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL = 2
"""Tokens that a model adds around a text."""


@functools.cache
def tokenizer(path: str = "") -> Tokenizer:
    """The tokenizer in ``path`` (a ``tokenizer.json``); without one, BERT's uncased.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    if path:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            found = Tokenizer.from_str(text)
        except Exception as error:  # the library has no kind of its own
            raise ValueError(f"{path} holds no tokenizer: {error}") from None
        found.no_truncation()
        found.no_padding()
        return found
    packed = resources.files("zentoria_rag").joinpath("data", "bert-uncased.txt.gz").read_bytes()
    words = gzip.decompress(packed).decode().split("\n")
    made = Tokenizer(WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106 - a token of text
    made.normalizer = BertNormalizer()
    made.pre_tokenizer = BertPreTokenizer()
    return made


def count(text: str, path: str = "") -> int:
    """Tokens of a text, without those that a model adds."""
    return len(tokenizer(path).encode(text, add_special_tokens=False).ids)
