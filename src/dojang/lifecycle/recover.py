"""What becomes of operations whose process died: each is finished or undone, exactly once.

The rule, by the last transition that the journal holds:

    =======================  ===========  ==================================================================
    verb                     step         then
    =======================  ===========  ==================================================================
    renew                    begun        undone: the claim on the credential goes, nothing else was made
    issue, renew             begun,       undone: the authority cancels the transaction, the new key goes; a card's
                             claimed      key that was there before stays
    issue, renew             asked        an authority elsewhere is asked again for its answer, then as ``answered``;
                                          waits while that is not there; undone where it refuses, or sent something else
    issue, renew             answered     finished: install, prove, confirm (and switch, for renew);
                                          undone where the key is gone, the authority refuses by now, or
                                          somebody else has broken the claim, which was an hour old
    renew                    confirmed    finished: switch
    renew                    switched     finished: the post hook, once more
    reissue                  each         as for renew; nothing to switch where the successor lies elsewhere
    revoke, suspend, release begun        finished: the authority is told again; waits while it cannot be
    ca init                  begun        finished where the authority is there; else its new key goes
    ca signer                begun        finished where the key is on record; else it goes, if it was made for this
    request                  begun        undone: the key that nobody was told of goes
    install                  begun        finished: install, prove; given up where the key is gone or another
                                          certificate has its place: the key itself is never touched
    delete                   begun        finished: delete
    copy, import, restore,   begun        undone: what was put into the target goes
    unwrap
    copy, import, restore,   brought      finished: install, prove; undone where the key is gone by now
    unwrap
    copy                     claimed      undone: what was put beside the old copy goes
    copy                     proven       finished: the new copy takes the old one's place; never undone
    import-key, unwrap-key,  begun        undone: the key goes
    make-kek
    otp-add                  begun        undone: the seed's key goes, and what tells what it is for
    otp-delete               begun        finished: delete
    move                     begun        undone, as for copy; the original has not been touched
    move                     brought      finished: install, prove, remove the original
    move                     copied,      finished: the copy proves itself once more, the original goes; never undone
                             removing
    backup, drill            begun        undone: the scratch folder is wiped; what was there before is untouched
    backup                   drilled      finished: the file gets its name, the scratch folder is wiped; undone where
                                          the scratch file is not whole, or another one has the name by now
    any                      undoing      undone, to the end
    =======================  ===========  ==================================================================

``answered`` is written only after the answer was checked, and holds it, so that finishing needs the authority for
nothing but the confirmation. Whatever a row does may have been done before and is done again without harm.
"""

import contextlib
from collections.abc import Callable

from dojang.errors import (
    AlreadyExists,
    AnswerMismatch,
    AnswerPending,
    AuthorityRefused,
    CredentialBusy,
    DojangError,
    FactorMissing,
    NotFound,
)
from dojang.ledger import Operation, OperationRecord
from dojang.lifecycle import founding, signers
from dojang.lifecycle.finish import (
    finish_asking,
    finish_bringing,
    finish_delete,
    finish_install,
    finish_issue,
    finish_move,
    finish_renewal,
    finish_seed_delete,
)
from dojang.lifecycle.journal import BRINGING, identity_of, take_back
from dojang.lifecycle.scratch import finish_backup, give_back
from dojang.lifecycle.status import finish_change
from dojang.lifecycle.workplace import Recovered, Workplace
from dojang.locations.base import Location, MayBeAbsent, StoredCredential

FINISH: dict[tuple[str, str], Callable[[Workplace, Operation, Location], StoredCredential | None]] = {
    **{(verb, "asked"): finish_asking for verb in ("issue", "renew", "reissue")},
    ("issue", "answered"): finish_issue,
    ("renew", "answered"): finish_renewal,
    ("renew", "confirmed"): finish_renewal,
    ("reissue", "answered"): finish_renewal,
    ("reissue", "confirmed"): finish_renewal,
    ("renew", "switched"): finish_renewal,
    ("install", "begun"): finish_install,
    ("delete", "begun"): finish_delete,
    ("otp-delete", "begun"): finish_seed_delete,
    **{(verb, "brought"): finish_bringing for verb in sorted(BRINGING)},
    ("copy", "proven"): finish_bringing,
    ("move", "copied"): finish_move,
    ("move", "removing"): finish_move,
}


AT_AUTHORITY: dict[tuple[str, str], Callable[[Workplace, Operation], str]] = {
    **{(verb, "begun"): finish_change for verb in ("revoke", "suspend", "release")},
    (founding.VERB, "begun"): founding.settle_founding,
    (signers.VERB, "begun"): signers.settle_giving,
}


def recover(
    place: Workplace, location: Location | None = None, *, other: str | None = None, subject_key: str | None = None
) -> list[Recovered]:
    """Finish or undo what killed runs left: in ``location``, which is open already, of one subject, or everywhere.

    A verb passes the location that it works in, and the address of the ``other`` if it has two, so that no third one is
    ever given a PIN or password on its account: what needs two is left to who means both, or everything.
    What cannot be recovered now is left as it is and never stands in the way of other work.
    """
    outcomes = []
    for record in place.ledger.incomplete():
        if _is_meant(record, location, other, subject_key):
            outcome = _recover_one(place, record, location)
            if outcome is not None:
                place.tell_recovered(outcome)
                outcomes.append(outcome)
    return outcomes


def _is_meant(record: OperationRecord, location: Location | None, other: str | None, subject_key: str | None) -> bool:
    if subject_key is not None:
        return record.subject_key == subject_key
    if location is None:
        return True
    return _is_at(record.facts.get("location"), location.address) and (
        (second := _second_place(record)) is None or _is_at(second, other)
    )


def _is_at(where: object, address: str | None) -> bool:
    return where is not None and address is not None and identity_of(str(where)) == identity_of(address)


def _second_place(record: OperationRecord) -> object:
    """Besides its location, where a move has to open or remove something: its source, and then its target."""
    if record.verb != "move" or record.step not in ("brought", "copied", "removing"):
        return None
    return record.facts["origin_location" if record.step == "brought" else "target"]


def finished_now(recovered: list[Recovered], verb: str, subject_key: str) -> StoredCredential | None:
    """What the recovery just finished of the very thing that is asked for now."""
    for outcome in recovered:
        if outcome.outcome == "finished" and (outcome.record.verb, outcome.record.subject_key) == (verb, subject_key):
            return outcome.credential
    return None


def refuse_pending(recovered: list[Recovered], verb: str, subject_key: str) -> None:
    """``AnswerPending`` where the very thing that is asked for now waits for its authority already."""
    for outcome in recovered:
        asked = (outcome.record.verb, outcome.record.subject_key) == (verb, subject_key)
        if asked and isinstance(outcome.error, AnswerPending):
            raise outcome.error


def _recover_one(place: Workplace, record: OperationRecord, location: Location | None) -> Recovered | None:
    operation = place.ledger.resume(record)
    if operation is None:
        return None
    with operation, contextlib.ExitStack() as opened:
        try:
            if (at_authority := AT_AUTHORITY.get((operation.record.verb, operation.record.step))) is not None:
                return Recovered(operation.record, at_authority(place, operation))
            if "folder" in operation.record.facts:
                return _finish_or_wipe(place, operation)
            here = location or opened.enter_context(place.open_location(str(record.facts["location"])))
            _check_present(operation.record, here)
            return _finish_or_undo(place, operation, here)
        except DojangError as error:
            return Recovered(operation.record, "left", error=error)


def _finish_or_wipe(place: Workplace, operation: Operation) -> Recovered:
    """A backup that passed its drill gets its name; of every other use of a scratch folder nothing stays."""
    if operation.record.step == "drilled":
        with contextlib.suppress(AlreadyExists, NotFound):
            finish_backup(operation)
            return Recovered(operation.record, "finished")
    give_back(place, operation, "cut short")
    return Recovered(operation.record, "undone")


def _check_present(record: OperationRecord, location: Location) -> None:
    """What a killed run worked on is not gone while its disk is not mounted; what it was to make needs no place yet,
    and what it was removing may have been all there was.
    """
    making = record.step == "begun" and record.verb in ("issue", "reissue", "request", *BRINGING)
    if not making and record.step != "removing" and isinstance(location, MayBeAbsent):
        location.check_present()


def _finish_or_undo(place: Workplace, operation: Operation, location: Location) -> Recovered:
    finish = FINISH.get((operation.record.verb, operation.record.step))
    if finish is not None:
        try:
            return Recovered(operation.record, "finished", finish(place, operation, location))
        except (AlreadyExists, AnswerMismatch, AuthorityRefused, CredentialBusy, FactorMissing, NotFound):
            if operation.record.step in ("confirmed", "switched", "proven", "copied", "removing"):
                raise
    take_back(place, operation, location, "cut short")
    return Recovered(operation.record, "undone")
