"""Policies by the words that people use for them: ``개인 범용``, ``yessign 개인 범용``, ``전자세금용``, or an OID."""

import re
from collections.abc import Iterator
from typing import Final

from dojang.errors import Phrase, Usage
from dojang.npki.policies import Policy, policies

_OID: Final = re.compile(r"[0-2](\.(0|[1-9]\d{0,38})){1,30}")
_HOLDERS: Final = {"person": ("개인", "personal"), "business": ("법인", "사업자", "business")}


def oids_named(text: str) -> frozenset[str]:
    """Every policy that ``text`` names, of all authorities unless it begins with one's name. ``Usage`` for none.

    Spaces do not count, nor does the case of letters; ``/`` stands for ``·``.
    """
    if _OID.fullmatch(text):
        return frozenset((text,))
    wanted = _plain(text)
    found = frozenset(one.oid for one in policies() if wanted in map(_plain, _names(one)))
    if not found:
        raise Usage(
            problem=Phrase(
                "'{name}' names no policy; write an OID, or words as in '개인 범용' or 'yessign 개인 범용'",
                name=text[:80],
            )
        )
    return found


def _names(policy: Policy) -> Iterator[str]:
    for purpose in policy.purposes.values():
        for holder in ("", *_HOLDERS.get(policy.holder or "", ())):
            yield f"{holder}{purpose}"
            yield f"{policy.authority}{holder}{purpose}"


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text).replace("/", "·").casefold()
