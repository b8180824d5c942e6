"""What the report of a study is made of: a question, its answer in sentences, and the figures that show it."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """One question of a study.

    said: sentences, every number of which stands in a table; figures: names of those that belong beside it.
    """

    question: str
    said: list[str]
    figures: tuple[str, ...] = ()


def sentences(topics: list[Topic]) -> list[str]:
    """All that is said, in order."""
    return [text for topic in topics for text in topic.said]
