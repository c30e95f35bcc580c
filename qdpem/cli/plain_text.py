"""Text for terminals and files that take only ASCII: the nearest letters instead of a crash."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_HANDLER = "qdpem-nearest"
_NEAREST = {"–": "-", "—": "-", "±": "+/-", "×": "x", "→": "->", "·": "|", "µ": "u", "…": "...", "≥": ">="}


def degrade_output() -> None:
    """Let stdout and stderr replace characters that their encoding lacks, as with PYTHONIOENCODING=ascii."""
    codecs.register_error(_HANDLER, _replace)
    for output in (sys.stdout, sys.stderr):
        # A test or a notebook may have put another object in their place.
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors=_HANDLER)


def ascii_text(text: str) -> str:
    """The text in ASCII: letters without accents, known signs in words, "?" for all others.

    >>> ascii_text("Zürich – 3 ± 1")
    'Zurich - 3 +/- 1'
    """
    spelled = "".join(_NEAREST.get(letter, letter) for letter in text)
    parts = unicodedata.normalize("NFKD", spelled)
    return "".join(part if part.isascii() else "?" for part in parts if not unicodedata.combining(part))


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return ascii_text(error.object[error.start : error.end]), error.end
