"""Lines of at most 120 characters."""

from __future__ import annotations

import re
import textwrap

WIDTH = 120
_FENCE = re.compile(r"`{3,}")
_ITEM = re.compile(r"\s*([-*]|\d+\.) ")
_ALONE = re.compile(r"\s*([|#<>]|!\[|\(\S+\)=|$)")
"""Lines that are no part of a paragraph: tables, headings, comments, quotes, images, labels; empty ones."""
_SIGN = re.compile(r" ([-*+=#>|]|\d+\.)(?= )")


def wrap(text: str) -> str:
    """The text of a page; every paragraph and item with a longer line is broken into lines anew.

    >>> wrap("short" + chr(10) + "lines")
    'short\\nlines'
    >>> [len(line) for line in wrap("- " + "word " * 30).splitlines()]
    [116, 36]
    """
    done: list[str] = []
    block: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line.lstrip())
        if fence or mark or _ALONE.match(line) or _ITEM.match(line):
            done += _wrapped(block)
            block = []
        if fence or mark or _ALONE.match(line):
            done.append(line)
        else:
            block.append(line)
        if mark:
            fence = mark[0] if not fence else "" if mark[0] == fence else fence
    return "\n".join(done + _wrapped(block))


def _wrapped(block: list[str]) -> list[str]:
    """The lines of one paragraph or item."""
    if all(len(line) <= WIDTH for line in block):
        return block
    item = _ITEM.match(block[0])
    words = " ".join(line.strip() for line in block)
    indent = block[0][: len(block[0]) - len(block[0].lstrip())]
    # A sign at the beginning of a line would begin an item or a heading, so it stays with the word before it.
    lines = textwrap.wrap(
        _SIGN.sub("\0\\1", words),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(item[0]) if item else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]
