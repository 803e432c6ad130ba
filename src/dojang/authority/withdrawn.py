"""What cannot be renewed because it was revoked or put on hold, and what helps."""

from typing import Final

from dojang.errors import AuthorityRefused, Phrase

_ADVICE: Final = {
    "suspended": Phrase(
        "Have the hold lifted first (dojang ca restore SERIAL); or have it reissued: dojang cert reissue."
    ),
    "revoked": Phrase("Have it reissued for the rest of its term: dojang cert reissue."),
}


def refuse_withdrawn(authority: str, state: str) -> None:
    """``AuthorityRefused`` for the state of a certificate that only a reissue replaces."""
    if (advice := _ADVICE.get(state)) is not None:
        problem = Phrase("the old certificate is {state}", state=Phrase(state))
        raise AuthorityRefused(authority=authority, problem=problem, next_step=advice)
