"""The desk for factors at an authority that is open: its records, its rules and its token, put together."""

from typing import TYPE_CHECKING

from dojang.authority.factors.checkers import CardChecker, Checker, DeviceChecker, MessageChecker
from dojang.authority.factors.desk import FactorDesk
from dojang.x509.profiles import Profile, profile

if TYPE_CHECKING:
    from dojang.authority.base import Submission
    from dojang.authority.factors.desk import Sitting
    from dojang.authority.local import LocalAuthority
    from dojang.otp.messages.targets import Channel

_CHANNELS: "tuple[Channel, ...]" = ("sms", "mail", "ars")


def desk_of(authority: "LocalAuthority") -> FactorDesk:
    """Nothing is loaded and no token opened before somebody asks for a factor of that kind."""

    def known(wanted: str) -> Profile:
        return profile(wanted, authority.folder / "profiles")

    checkers: dict[str, Checker] = {
        "otp": DeviceChecker(lambda: authority.devices),
        "card": CardChecker(lambda: authority.cards),
    }
    for channel in _CHANNELS:
        checkers[channel] = MessageChecker(channel, lambda: authority.messages, authority.now)
    return FactorDesk(
        database=authority.database,
        authority=authority.name,
        policy=authority.settings.factors(),
        limits=authority.settings.enrolment(),
        checkers=checkers,
        profile=known,
        clock=authority.now,
    )


def sitting_here(desk: FactorDesk, submission: "Submission") -> "Sitting":
    """For who asks where the authority is. ``AuthorityRefused`` for a request that cannot be read."""
    from dojang.x509.keys import spki_of
    from dojang.x509.name import settled_name
    from dojang.x509.request import CertificateRequest

    request = CertificateRequest.from_pkcs10(submission.request_der)
    return desk.sit(submission, settled_name(request.subject), spki_of(request.public_key))
