"""One XML file of SNDlib: its nodes, its demands, and what it says about them.

The parser is expat, which tells the row and column of each element. A document type is refused before any of
it is read: entities can only be declared there, so that none can expand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from qdpem.demand.traces.file_content import shown_value
from qdpem.errors import QdpemError

_META = ("granularity", "time", "unit", "origin")
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

    Raises QdpemError, with row and column, for XML that is not well-formed or has a document type, a demand
    that lacks a part, names an unknown node or a pair that is there already, and a value that is no number of
    0 or more.
    """
    return _Reader(name).read(content)


class _Reader:
    """The state of expat's callbacks: which element is open, and the text in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: dict[str, None] = {}
        self._demands: dict[tuple[str, str], float] = {}
        self._meta: dict[str, str] = {}
        # "demand" or "meta" while such an element is open: `source` and `target` also stand in links.
        self._open = ""
        self._root = ""
        self._parts: dict[str, str] = {}
        self._text: list[str] = []
        self._row = self._column = 0
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        self._parser = parser

    def read(self, content: bytes) -> SndlibDocument:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise QdpemError(
                f"{self._name}, row {error.lineno}, column {error.offset + 1}:"
                f" {expat.ErrorString(error.code)}; should be XML of SNDlib, complete"
            ) from error
        except (LookupError, ValueError) as error:
            # Of the encoding that the first line declares.
            raise QdpemError(f"{self._name}, row 1: {error}; should be XML in UTF-8") from error
        if self._root != "network" or not self._nodes:
            raise QdpemError(
                f"{self._name} is <{self._root}> with {len(self._nodes)} nodes; should be <network> with"
                " nodes and demands, as SNDlib writes it"
            )
        return SndlibDocument(self._name, tuple(self._nodes), self._demands, self._meta)

    def _refuse_document_type(self, *_: object) -> None:
        raise self._error("a document type is declared", "none, as its entities could expand without end")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        local = tag.rpartition(":")[2]
        self._root = self._root or local
        if local in ("demand", "meta"):
            self._open, self._parts = local, {}
            self._row, self._column = self._here()
        elif local == "node":
            self._add_node(attributes.get("id", ""))
        elif local == "demandValue":
            self._row, self._column = self._here()
        self._text.clear()

    def _end(self, tag: str) -> None:
        local = tag.rpartition(":")[2]
        if self._open == "demand":
            if local in _DEMAND:
                self._parts[local] = "".join(self._text).strip()
            elif local == "demand":
                self._add_demand()
                self._open = ""
        elif self._open == "meta":
            if local in _META:
                self._meta[local] = "".join(self._text).strip()
            elif local == "meta":
                self._open = ""
        self._text.clear()

    def _add_node(self, node: str) -> None:
        self._row, self._column = self._here()
        if not node or node in self._nodes:
            raise self._error(f"a node has the id {node!r}", "one that no other node has")
        self._nodes[node] = None

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
        self._demands[pair] = self._value(self._parts["demandValue"])

    def _value(self, text: str) -> float:
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < math.inf:
            raise self._error(f"demandValue is {shown_value(text)}", "a number, 0 or more")
        return value

    def _here(self) -> tuple[int, int]:
        return self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1

    def _error(self, fault: str, right: str) -> QdpemError:
        row, column = (self._row, self._column) if self._row else self._here()
        return QdpemError(f"{self._name}, row {row}, column {column}: {fault}; should be {right}")
