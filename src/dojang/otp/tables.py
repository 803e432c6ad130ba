"""What the verifying side of one-time passwords keeps, for SQLite and PostgreSQL alike.

No seed, card or code is here in plain: seeds and cards are sealed under a key on the HSM, codes are salted hashes.
Applicants are those of whoever owns the database; here they are text.
"""

from functools import partial
from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Identity, Index, Integer, LargeBinary, Text, text

from dojang.columns import BIG, Flag, Moment, new_metadata, one_of, partial_index, strict_table

# ``retiring``: nothing new is sealed under it, what is there is sealed anew; ``retired``: destroyed on the HSM.
KEK_STATES: Final = ("current", "retiring", "retired")
KINDS: Final = ("totp", "hotp", "ocra")
HASHES: Final = ("sha1", "sha256", "sha512")
DEVICE_STATES: Final = ("active", "locked", "suspended", "removed")
# A card counts from when its print is whole; ``unprinted`` is what a run that was killed before leaves behind.
CARD_STATES: Final = ("unprinted", "active", "locked", "removed")
CHANNELS: Final = ("sms", "ars", "mail")
# ``pressed``: the right digits came back from a call; ``spent``: too many wrong tries; ``unsent``: nobody was reached.
CODE_STATES: Final = ("live", "pressed", "used", "spent", "replaced", "unsent")

# Conditions of partial indexes, for the indexes and for the queries that are to use them.
IS_CURRENT: Final = text("state = 'current'")
IS_OPEN: Final = text("state IN ('live', 'pressed')")

metadata: Final = new_metadata()
_table: Final = partial(strict_table, metadata)

# A key on the HSM under which seeds are sealed, and beside which that for cards lives. ``check_value`` tells it from
# others and gives nothing away. ``stray_tries`` counts codes that were given for devices that cannot take any.
otp_kek = _table(
    "otp_kek",
    Column("id", Text, primary_key=True),
    Column("key_address", Text, nullable=False),
    Column("check_value", Text, nullable=False),
    Column("stray_tries", BIG, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="current"),
    Column("made_at", Moment, nullable=False),
    one_of("state", KEK_STATES),
)
partial_index("ux_otp_kek_current", otp_kek.c.state, unique=True, where=IS_CURRENT)

# A registered device. ``counter`` is the first one that may still be accepted: of HOTP and OCRA the next event, of TOTP
# the time step after the last accepted one. ``drift`` is how many steps its clock is ahead of ours. A removed device
# has no seed any more. ``challenge`` is what an OCRA device was asked last and has not answered.
otp_device = _table(
    "otp_device",
    Column("id", Text, primary_key=True),
    Column("applicant", Text, index=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("digits", Integer, nullable=False),
    Column("period", Integer),
    Column("suite", Text),
    Column("wrapped_seed", LargeBinary),
    Column("kek", Text, ForeignKey("otp_kek.id")),
    Column("exportable", Flag, nullable=False, server_default="0"),
    Column("counter", BIG, nullable=False, server_default="0"),
    Column("drift", Integer, nullable=False, server_default="0"),
    Column("wrong_tries", Integer, nullable=False, server_default="0"),
    Column("challenge", Text),
    Column("challenged_at", Moment),
    Column("state", Text, nullable=False, server_default="active"),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("last_used_at", Moment),
    one_of("kind", KINDS),
    one_of("hash", HASHES),
    one_of("state", DEVICE_STATES),
    CheckConstraint("(state = 'removed') = (wrapped_seed IS NULL AND kek IS NULL)", name="seed"),
)
partial_index("ix_otp_device_kek", otp_device.c.kek, otp_device.c.id, where=text("kek IS NOT NULL"))

# A security card. ``sealed`` holds its entries, each for itself; ``first`` and ``second`` are the two that are asked
# for until they are answered, and ``answered`` counts the challenges that were.
security_card = _table(
    "security_card",
    Column("id", Text, primary_key=True),
    Column("applicant", Text, nullable=False, index=True),
    Column("entries", Integer, nullable=False),
    Column("sealed", LargeBinary),
    Column("kek", Text, ForeignKey("otp_kek.id")),
    Column("first", Integer),
    Column("second", Integer),
    Column("challenged_at", Moment),
    Column("answered", BIG, nullable=False, server_default="0"),
    Column("wrong_tries", Integer, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="unprinted"),
    Column("created_at", Moment, nullable=False),
    one_of("state", CARD_STATES),
    CheckConstraint("(state = 'removed') = (sealed IS NULL AND kek IS NULL)", name="sealed"),
    CheckConstraint("(first IS NULL) = (second IS NULL)", name="challenge"),
)
partial_index("ix_security_card_kek", security_card.c.kek, security_card.c.id, where=text("kek IS NOT NULL"))

# A code that was sent by message, or is pressed in a call; only a keyed hash of it is here. One at most is open for a
# purpose.
message_code = _table(
    "message_code",
    Column("id", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("applicant", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("target_tag", LargeBinary, nullable=False),
    Column("code_hash", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("tries_left", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="live"),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    one_of("channel", CHANNELS),
    one_of("state", CODE_STATES),
)
partial_index("ux_message_code_open", message_code.c.applicant, message_code.c.purpose, unique=True, where=IS_OPEN)
Index("ix_message_code_applicant", message_code.c.applicant, message_code.c.purpose, message_code.c.created_at)

# A message that was sent, kept for as long as it counts against a limit.
message_sent = _table(
    "message_sent",
    Column("number", BIG, Identity(), primary_key=True),
    Column("target_tag", LargeBinary, nullable=False),
    Column("source", Text),
    Column("at", Moment, nullable=False, index=True),
)
Index("ix_message_sent_target", message_sent.c.target_tag, message_sent.c.at)
Index("ix_message_sent_source", message_sent.c.source, message_sent.c.at)

# The outcome of a call that was told already, kept for as long as it would be fresh if it came again.
message_outcome = _table(
    "message_outcome",
    Column("nonce", Text, primary_key=True),
    Column("at", Moment, nullable=False, index=True),
)
