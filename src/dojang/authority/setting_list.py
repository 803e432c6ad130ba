"""Every setting of ``authority.toml``: what it is unless said, or an example of it, and what it means.

``tests/authority/test_setting_list.py`` holds this against what reads the file: no key is left out, none is too many,
and what stands here as usual is what holds where nothing is said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from dojang.errors import Phrase

_COLUMN: Final = 52


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. ``value`` as TOML writes it: what holds unless it is said, or only an example (``usual`` is false)."""

    key: str
    value: str
    meaning: Phrase
    usual: bool = True


@dataclass(frozen=True, slots=True)
class SettingTable:
    """Where keys stand: ``cmp``, ``messages.mail``; empty for those before every table."""

    name: str
    settings: tuple[Setting, ...]

    @property
    def usual(self) -> bool:
        """Whether it is there, in effect, where nobody writes it."""
        return any(one.usual for one in self.settings)


def written(word: Callable[[Phrase], str], *, examples: bool = False) -> Iterator[str]:
    """The lines of a file that says what holds anyway, with examples as comments, or with the ``examples``."""
    for table in TABLES:
        if table.name:
            yield ""
            yield f"{'' if table.usual or examples else '# '}[{table.name}]"
        for one in table.settings:
            line = f"{'' if one.usual or examples else '# '}{one.key} = {one.value}"
            yield f"{line.ljust(_COLUMN)}  # {word(one.meaning)}"


def _example(key: str, value: str, meaning: Phrase) -> Setting:
    return Setting(key, value, meaning, usual=False)


_SECONDS: Final = _example("seconds", "10", Phrase("how long one delivery may take, at most 25"))
_TRUST: Final = _example(
    "ca-certificate", '"gateway-ca.pem"', Phrase("what its certificate is checked with, if not by the system's own")
)
_LOGIN: Final = (
    _example("user", '"dojang"', Phrase("whom it knows, where it wants a login")),
    _example("password-source", '"file:/etc/dojang/message-password"', Phrase("where that one's password is")),
)

TABLES: Final = (
    SettingTable(
        "",
        (
            _example("database", '"postgresql://ca@db.example.kr/office"', Phrase("unless store.sqlite in its folder")),
            Setting("test", "false", Phrase("a test authority: allows what conformance tests want")),
            _example(
                "address",
                '"http://ca.example.kr/office"',
                Phrase("where others reach its lists, answers and certificates"),
            ),
            Setting("unconfirmed-hours", "24", Phrase("what nobody has confirmed until then is revoked")),
            Setting(
                "notify-subscribers",
                "false",
                Phrase("have the server mail them when they can renew, by [notices.mail] of config.toml"),
            ),
        ),
    ),
    SettingTable(
        "cmp",
        (
            Setting("longest-iterations", "100000", Phrase("a MAC that wants more of them is refused")),
            Setting("clock-skew-seconds", "900", Phrase("how far the clock of whoever asks may be off")),
            Setting("implicit-confirm", "true", Phrase("grant it where it is asked for")),
            Setting("keep-hours", "24", Phrase("as long the same message gets the same answer afterwards")),
            Setting("poll-seconds", "5", Phrase("when to ask again for what is not ready")),
            Setting("waiting-requests", "4", Phrase("under one code: one more takes the place of the oldest")),
        ),
    ),
    SettingTable(
        "status",
        (
            Setting("answer-hours", "12", Phrase("how long an OCSP answer holds, 1 at least")),
            Setting("prepare", "true", Phrase("sign answers before anybody asks; not where the key is slow")),
            Setting("call-unissued-revoked", "false", Phrase("a serial that was never issued is revoked, not unknown")),
            Setting("delta-hours", "0", Phrase("how long a delta list holds; 0 for none")),
            Setting("on-revocation", '"complete"', Phrase("which list is published at once: complete or delta")),
            _example("base", '"http://ca.example.kr/office"', Phrase("where its deltas are, if not at its address")),
        ),
    ),
    SettingTable(
        "enrolment",
        (
            Setting("tries", "5", Phrase("wrong codes for one reference until it is locked; an officer unlocks it")),
            Setting("source-tries", "50", Phrase("wrong codes from one network address until it is refused …")),
            Setting("source-window-minutes", "60", Phrase("… within this time")),
            Setting("valid-days", "14", Phrase("how long a code may be used, at most 90")),
            Setting("pre-authorised", "true", Phrase("codes may be made without the checks that the profile requires")),
            Setting("four-eyes", '"none"', Phrase("people: somebody else approves; officers: two, each with a key")),
            Setting("officer-anchors", "[]", Phrase("files: who else's certificates officers may have")),
            Setting("officer-crls", "[]", Phrase("files: their revocation lists")),
            Setting("uses", "1", Phrase("how often one code works; more than once only with test = true")),
        ),
    ),
    SettingTable(
        "enrolment.profiles.personal",
        (
            _example("four-eyes", '"officers"', Phrase("the same for one profile")),
            _example("pre-authorised", "false", Phrase("the same for one profile")),
        ),
    ),
    SettingTable(
        "factors",
        (Setting("minutes", "10", Phrase("how long a factor that was passed is good for, at most a day")),),
    ),
    SettingTable(
        "factors.profiles.personal",
        (
            _example("all", '["sms", { any = ["otp", "card"] }]', Phrase("or any = […]: otp, card, sms, mail, ars")),
            _example("for", '["issue", "reissue"]', Phrase("what they are asked for: issue, renew, reissue")),
        ),
    ),
    SettingTable("factors.profiles", (_example("email", "false", Phrase("none, whatever the profile says")),)),
    SettingTable(
        "otp",
        (
            Setting("tries", "10", Phrase("a device is locked with this wrong code; an officer unlocks it")),
            Setting("totp-back", "1", Phrase("so many time steps may a code be late …")),
            Setting("totp-ahead", "1", Phrase("… and early, for a clock that is as far off as it was the last time")),
            Setting("hotp-ahead", "10", Phrase("so many codes that nobody has sent may be left out")),
            Setting("totp-resync", "60", Phrase("time steps either way in which 'otp resync' looks for two codes")),
            Setting("hotp-resync", "100", Phrase("the same among codes by counter")),
            Setting("challenge-minutes", "5", Phrase("how long the challenge of an OCRA device may be answered")),
        ),
    ),
    SettingTable(
        "cards",
        (
            Setting("entries", "35", Phrase("codes on a security card, 30 to 35")),
            Setting("tries", "5", Phrase("a card is locked with this wrong answer, 3 to 5; an officer unlocks it")),
        ),
    ),
    SettingTable(
        "messages",
        (
            _example("name", '"Example Bank"', Phrase("how messages call the authority; its own name unless said")),
            Setting("minutes", "3", Phrase("how long a code works")),
            Setting("tries", "5", Phrase("wrong codes until it is worthless")),
            Setting("again-seconds", "30", Phrase("how soon another may be asked for, for the same number or address")),
            Setting("per-target", "5", Phrase("so many codes for one number or mail address …")),
            Setting("per-source", "50", Phrase("… and so many asked for from one network address …")),
            Setting("window-minutes", "60", Phrase("… within this time")),
            Setting("per-day", "10", Phrase("so many codes for one number or mail address within 24 hours")),
            Setting("countries", '["82"]', Phrase("country codes of numbers that may be written to")),
        ),
    ),
    SettingTable(
        "messages.mail",
        (
            _example("kind", '"smtp"', Phrase("a mail server; or https; or console where test = true")),
            _example("server", '"mail.example.com:587"', Phrase("its name, and a port that is not the usual one")),
            _example("from", '"office@example.com"', Phrase("who mails")),
            _example("security", '"starttls"', Phrase("or tls; none only for a server on this machine")),
            *_LOGIN,
            _TRUST,
            _SECONDS,
        ),
    ),
    SettingTable(
        "messages.sms",
        (
            _example("kind", '"https"', Phrase("a gateway that takes messages over HTTPS")),
            _example("url", '"https://api.example.com/messages"', Phrase("where they are posted")),
            _example("method", '"POST"', Phrase("or PUT")),
            _example("form", '"json"', Phrase("or form: fields as a web page sends them")),
            _example(
                "fields",
                '{ from = "0212345678", to = "{to-national}", text = "{text}" }',
                Phrase(
                    "what is sent: {placeholders}",
                    placeholders="{to} {to-national} {text} {code} {subject} {id} {authority} {purpose} {language} "
                    "{secret.NAME}",
                ),
            ),
            _example(
                "headers",
                '{ X-Api-Key = "{secret.token}" }',
                Phrase("header fields: {placeholders}", placeholders="{id} {secret.NAME}"),
            ),
            _example(
                "secrets",
                '{ token = "file:/etc/dojang/gateway-token" }',
                Phrase("where each secret is that a placeholder names"),
            ),
            _example("success", "[200, 202]", Phrase("statuses that mean it was taken; any 2xx unless said")),
            _example("pointer", '"/result/code"', Phrase("what its JSON answer holds there (RFC 6901) …")),
            _example("equals", '"0000"', Phrase("… must be this")),
            *_LOGIN,
            _TRUST,
            _SECONDS,
        ),
    ),
    SettingTable(
        "messages.ars",
        (
            _example("kind", '"call"', Phrase("a gateway that calls people, who press what the screen shows")),
            _example("url", '"https://call.example.com/calls"', Phrase("where calls are asked for")),
            _example(
                "callback",
                '"https://ca.example.kr/ars/office"',
                Phrase("this centre's own door, as the gateway reaches it"),
            ),
            _example("key-source", '"file:/etc/dojang/call-key"', Phrase("what both sides sign with; 16 bytes")),
            _TRUST,
            _SECONDS,
        ),
    ),
)
