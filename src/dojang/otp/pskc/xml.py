"""XML as strangers send it, read without trust: no DTD, no entities, nothing from elsewhere, and bounds for everything.

The parser is expat, which is told to stop at the first declaration of a document type; without one there are no
entities to expand, and nothing refers to a file or an address.

What there may be many of is handed over one by one as it is read, and not kept: a file of a hundred thousand devices
takes the memory of one, and one that is not what it should be is refused at the first of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

from dojang.errors import Phrase

LARGEST: Final = 256 << 20
DEEPEST: Final = 32
_MOST_ELEMENTS: Final = 5_000_000
_MOST_KEPT: Final = 1000
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


def parse(document: bytes, many: str = "", take: Callable[[Element], None] = lambda _element: None) -> Element:
    """The root of a document. ``XmlRefused`` for all that is no well-formed XML, or more than we read.

    Children of the root that are called ``many`` go to ``take``, each when it is whole, and not into the root.
    """
    if len(document) > LARGEST:
        raise XmlRefused(Phrase("it is larger than {limit} MiB", limit=LARGEST >> 20))
    parser, builder = expat.ParserCreate(namespace_separator=" "), _Builder(many, take)
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
    """Puts elements together, and counts: all of them, and those that are kept at the same time."""

    def __init__(self, many: str, take: Callable[[Element], None]) -> None:
        self.root: Element | None = None
        self._many, self._take = many, take
        self._open: list[Element] = []
        self._texts: list[list[str] | None] = []
        self._lengths: list[int] = []
        self._elements = self._kept = self._kept_before = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._kept += 1
        if self._elements > _MOST_ELEMENTS or self._kept > _MOST_KEPT or len(self._open) >= DEEPEST:
            raise XmlRefused(Phrase("it is nested too deeply, or has too many elements"))
        space, _, local = name.rpartition(" ")
        made = Element(space, local, _plain(attributes) if attributes else {})
        if not self._open:
            self.root = made
        elif len(self._open) == 1 and local == self._many:
            self._kept_before = self._kept - 1
        else:
            self._open[-1].children.append(made)
        if self._texts:
            self._texts[-1] = None  # between elements there are blanks, and nothing that is read
        self._open.append(made)
        self._texts.append([])
        self._lengths.append(0)

    def end(self, name: str) -> None:
        ended, said = self._open.pop(), self._texts.pop()
        ended.text = "".join(said).strip() if said else ""
        self._lengths.pop()
        if len(self._open) == 1 and ended.name == self._many:
            self._kept = self._kept_before
            self._take(ended)

    def said(self, text: str) -> None:
        texts = self._texts[-1] if self._texts else None
        if texts is not None:
            self._lengths[-1] += len(text)
            if self._lengths[-1] > _LONGEST_TEXT:
                raise XmlRefused(Phrase("a text in it is too long"))
            texts.append(text)

    def refuse_doctype(self, *_: object) -> NoReturn:
        raise XmlRefused(Phrase("it declares a document type or entities, which are not read"))


def _plain(attributes: dict[str, str]) -> dict[str, str]:
    """By their names alone."""
    if len(attributes) > _MOST_ATTRIBUTES:
        raise XmlRefused(Phrase("it is nested too deeply, or has too many elements"))
    if any(len(key) + len(value) > _LONGEST_TEXT for key, value in attributes.items()):
        raise XmlRefused(Phrase("a text in it is too long"))
    return {key.rpartition(" ")[2]: value for key, value in attributes.items()}
