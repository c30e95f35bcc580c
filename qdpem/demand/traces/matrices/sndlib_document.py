"""One XML file of SNDlib: its nodes, its demands, and what it says about them.

The parser is expat, which tells the row and column of each element. A file with a document type is refused
before it is parsed: entities can only be declared there, so that none can expand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from qdpem.demand.traces.file_content import shown_value
from qdpem.errors import QdpemError

_META = ("granularity", "time", "unit", "origin")
_DOCUMENT_TYPE = b"<!DOCTYPE"
_DEMAND = ("source", "target", "demandValue")


@dataclass(frozen=True)
class SndlibDocument:
    """One matrix: nodes in order, the value of each listed pair, and the texts of `meta` by element."""

    name: str
    nodes: tuple[str, ...]
    demands: Mapping[tuple[str, str], float]
    meta: Mapping[str, str]


def read_document(content: bytes, name: str) -> SndlibDocument:
    """The matrix in one XML file; prefixes and namespaces of elements do not matter.

    Raises QdpemError for XML that is not well-formed or has a document type, a demand that lacks a part,
    names an unknown node or a pair that is there already, and a value that is no number of 0 or more. The row
    and column are those at which the element ends.
    """
    # Found as bytes, and parsed as UTF-8 whatever the file declares, so that no encoding hides it. A callback
    # would be too late: expat parses on to the end of a file after an error in one.
    start = content.find(_DOCUMENT_TYPE)
    if start >= 0:
        row = content.count(b"\n", 0, start) + 1
        column = start - content.rfind(b"\n", 0, start)
        raise QdpemError(
            f"{name}, row {row}, column {column}: a document type is declared; should be none, as its"
            " entities could expand without end"
        )
    return _Reader(name).read(content)


class _Reader:
    """The callbacks of expat and what they have found.

    Inside `demands`, where nearly all elements of a file are, only their ends are looked at: that halves the
    time. Text is then what stands since the last end.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._root = ""
        self._nodes: dict[str, None] = {}
        self._demands: dict[tuple[str, str], float] = {}
        self._meta: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        self._text: list[str] = []
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.buffer_text = True
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def read(self, content: bytes) -> SndlibDocument:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise QdpemError(
                f"{self._name}, row {error.lineno}, column {error.offset + 1}:"
                f" {expat.ErrorString(error.code)}; should be XML of SNDlib in UTF-8, complete"
            ) from error
        if self._root != "network" or not self._nodes:
            raise QdpemError(
                f"{self._name} is <{self._root}> with {len(self._nodes)} nodes; should be <network> with"
                " nodes and demands, as SNDlib writes it"
            )
        return SndlibDocument(self._name, tuple(self._nodes), self._demands, self._meta)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._text.clear()
        local = _local(tag)
        self._root = self._root or local
        if local == "node":
            node = attributes.get("id", "")
            if not node or node in self._nodes:
                raise self._error(f"a node has the id {node!r}", "one that no other node has")
            self._nodes[node] = None
        elif local == "demands":
            self._parser.StartElementHandler = None
            self._parser.EndElementHandler = self._end_in_demands

    def _end(self, tag: str) -> None:
        local = _local(tag)
        if local in _META:
            self._meta[local] = "".join(self._text).strip()

    def _end_in_demands(self, tag: str) -> None:
        local = _local(tag)
        if local in _DEMAND:
            self._parts[local] = "".join(self._text).strip()
            if local == "demandValue":
                # Here, where expat still knows the row.
                self._check_value(self._parts[local])
        elif local == "demand":
            self._add_demand()
        elif local == "demands":
            self._parser.StartElementHandler = self._start
            self._parser.EndElementHandler = self._end
        self._text.clear()

    def _add_demand(self) -> None:
        for part in _DEMAND:
            if part not in self._parts:
                raise self._error(f"a demand has no <{part}>", f"one, beside the others of {_DEMAND}")
        pair = (self._parts["source"], self._parts["target"])
        for node in pair:
            if node not in self._nodes:
                raise self._error(f"a demand names {shown_value(node)}", "a node that the file lists")
        if pair in self._demands:
            raise self._error(f"the demand {pair[0]} > {pair[1]} is there before", "there once")
        self._demands[pair] = float(self._parts["demandValue"])
        self._parts.clear()

    def _check_value(self, text: str) -> None:
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < math.inf:
            raise self._error(f"demandValue is {shown_value(text)}", "a number, 0 or more")

    def _error(self, fault: str, right: str) -> QdpemError:
        row, column = self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1
        return QdpemError(f"{self._name}, row {row}, column {column}: {fault}; should be {right}")


def _local(tag: str) -> str:
    """The name of an element without its prefix."""
    return tag.rpartition(":")[2] if ":" in tag else tag
