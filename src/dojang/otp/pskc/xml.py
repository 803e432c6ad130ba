"""XML as strangers send it, read without trust: no DTD, no entities, nothing from elsewhere, and bounds for everything.

The parser is expat, which is told to stop at the first declaration of a document type; without one there are no
entities to expand, and nothing refers to a file or an address.
"""

from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

from dojang.errors import Phrase

LARGEST: Final = 32 << 20
DEEPEST: Final = 32
_MOST_ELEMENTS: Final = 500_000
_MOST_ATTRIBUTES: Final = 16
_LONGEST_TEXT: Final = 1 << 16


class XmlRefused(ValueError):
    """What is wrong with it, for people; never what stands in it."""

    def __init__(self, problem: Phrase) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(slots=True)
class Element:
    """One element: its namespace, its name in that, and what is in it. ``text`` is stripped of blanks around it."""

    space: str
    name: str
    attributes: dict[str, str]
    children: "list[Element]" = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> "list[Element]":
        return [child for child in self.children if child.name == name]

    def maybe(self, name: str) -> "Element | None":
        """The child of that name; ``XmlRefused`` for a second one, of which a reader could take either."""
        found = self.all(name)
        if len(found) > 1:
            raise XmlRefused(Phrase("{name} stands twice in {parent}", name=name, parent=self.name))
        return found[0] if found else None

    def one(self, name: str) -> "Element":
        found = self.maybe(name)
        if found is None:
            raise XmlRefused(Phrase("{parent} has no {name}", parent=self.name, name=name))
        return found

    def find(self, *names: str) -> "Element | None":
        """The child of a child …, as far as there is one."""
        found: Element | None = self
        for name in names:
            found = None if found is None else found.maybe(name)
        return found

    def said(self, *names: str) -> str:
        """The text there, or nothing."""
        found = self.find(*names)
        return "" if found is None else found.text


def parse(document: bytes) -> Element:
    """The root of a document. ``XmlRefused`` for all that is no well-formed XML, or more than we read."""
    if len(document) > LARGEST:
        raise XmlRefused(Phrase("it is larger than {limit} MiB", limit=LARGEST >> 20))
    parser, builder = expat.ParserCreate(namespace_separator=" "), _Builder()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.said
    parser.StartDoctypeDeclHandler = builder.refuse_doctype
    parser.EntityDeclHandler = builder.refuse_doctype
    parser.ExternalEntityRefHandler = builder.refuse_doctype
    parser.ProcessingInstructionHandler = lambda target, data: None
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise XmlRefused(Phrase("line {line} is no well-formed XML", line=error.lineno)) from None
    except (LookupError, UnicodeError, ValueError) as error:
        raise error if isinstance(error, XmlRefused) else XmlRefused(Phrase("its encoding is unknown")) from None
    if builder.root is None:
        raise XmlRefused(Phrase("there is no element in it"))
    return builder.root


class _Builder:
    """Puts elements together, and counts."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._lengths: list[int] = []
        self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) >= DEEPEST or self._elements > _MOST_ELEMENTS or len(attributes) > _MOST_ATTRIBUTES:
            raise XmlRefused(Phrase("it is nested too deeply, or has too many elements"))
        if any(len(key) + len(value) > _LONGEST_TEXT for key, value in attributes.items()):
            raise XmlRefused(Phrase("a text in it is too long"))
        space, _, local = name.rpartition(" ")
        made = Element(space, local, {key.rpartition(" ")[2]: value for key, value in attributes.items()})
        if self._open:
            self._open[-1].children.append(made)
        else:
            self.root = made
        self._open.append(made)
        self._texts.append([])
        self._lengths.append(0)

    def end(self, name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop()).strip()
        self._lengths.pop()

    def said(self, text: str) -> None:
        if self._open:
            self._lengths[-1] += len(text)
            if self._lengths[-1] > _LONGEST_TEXT:
                raise XmlRefused(Phrase("a text in it is too long"))
            self._texts[-1].append(text)

    def refuse_doctype(self, *_: object) -> NoReturn:
        raise XmlRefused(Phrase("it declares a document type or entities, which are not read"))
