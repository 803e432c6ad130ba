"""A message whose sender is known, and the answers to it; and the rules that hold for every message (RFC 9483, 3.5)."""

from datetime import datetime, timedelta
from typing import NamedTuple

from dojang.authority.conversation.office import Office
from dojang.authority.conversation.replies import Replies, Reply
from dojang.authority.conversation.senders import Sender
from dojang.authority.conversation.transactions import LONGEST_ID, Place, State, Turn
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.messages import VERSION_2, VERSION_3, Header, Message

_SHORTEST_NONCE = 16


class Question(NamedTuple):
    """One message. ``source`` is where it comes from, ``profile`` the name in the address that it came to.

    ``place`` is the conversation that it belongs to, ``digest`` its SHA-256. ``is_private`` where nobody on the way
    could read along.
    """

    office: Office
    message: Message
    request_der: bytes
    sender: Sender
    source: str
    at: datetime
    place: Place
    digest: bytes
    profile: str | None = None
    is_private: bool = True

    @property
    def replies(self) -> Replies:
        return Replies(self.office, self.message.header, self.sender.mac, self.at)

    def turn(self, state: State, kind: str, reply: Reply, serial: str | None = None, details: str = "{}") -> Turn:
        """This message and its answer as the last turn of the conversation."""
        keep = timedelta(hours=self.office.settings.keep_hours)
        until_at = self.at + (max(keep, self.office.confirm_term) if state == "granted" else keep)
        return Turn(state, kind, self.digest, reply.der, reply.nonce, serial, details, until_at)


def check_header(header: Header, office: Office, at: datetime) -> None:
    """What can be said before the sender is known. Raises ``CmpFault``."""
    if header.version not in (VERSION_2, VERSION_3):
        raise CmpFault(FailInfo.UNSUPPORTED_VERSION, "versions 2 and 3 of the protocol are spoken here")
    if not 1 <= len(header.transaction_id or b"") <= LONGEST_ID:
        raise CmpFault(FailInfo.BAD_DATA_FORMAT, "a transactionID has 1 to {limit} bytes", limit=LONGEST_ID)
    if len(header.sender_nonce or b"") < _SHORTEST_NONCE:
        raise CmpFault(FailInfo.BAD_SENDER_NONCE, "a senderNonce has {least} bytes", least=_SHORTEST_NONCE)
    said = header.message_at
    if said is not None and abs(said - at) > timedelta(seconds=office.settings.clock_skew_seconds):
        raise CmpFault(FailInfo.BAD_TIME, "the message's time is too far from the time here")


def check_nonces(header: Header, last: Turn | None) -> None:
    """The first message repeats no nonce, every other that of the answer before it. Raises ``CmpFault``."""
    wanted = None if last is None else last.our_nonce
    if header.recipient_nonce != wanted:
        raise CmpFault(FailInfo.BAD_RECIPIENT_NONCE, "recipNonce is not that of the last answer")
