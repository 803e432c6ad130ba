"""Mail to subscribers: a certificate can be renewed. In Korean and English, because nobody knows what they read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dojang.lifecycle.channels import Mail
from dojang.lifecycle.notices import Notice

if TYPE_CHECKING:
    from dojang.authority.jobs.notices import RenewalNotice
    from dojang.renewal_settings import MailSettings
    from dojang.secret import Secret

_SUBJECT: Final = "인증서 갱신 안내 / Your certificate can be renewed ({days})"
_TEXT: Final = """\
{authority}에서 발급한 인증서가 {until}에 만료됩니다. {days}일 남았습니다.
인증서: {subject}
일련번호: {serial}
만료 전에 갱신하십시오. 만료된 인증서는 갱신할 수 없습니다.

The certificate issued by {authority} expires at {until}, in {days} days.
Certificate: {subject}
Serial number: {serial}
Please renew it before that; an expired certificate cannot be renewed.
"""


@dataclass(frozen=True, slots=True)
class MailToSubscribers:
    """Implements ``NoticeSender`` with the mail server of the settings; whom that usually writes to does not matter."""

    settings: "MailSettings"
    secret: "Callable[[str, str], Secret]"

    def send(self, notice: "RenewalNotice") -> None:
        """One mail to all addresses in the certificate. ``NoticeUndelivered`` when the server did not take it."""
        facts = {
            "authority": notice.authority,
            "until": f"{notice.not_after_at:%Y-%m-%d %H:%M} UTC",
            "days": notice.days_left,
            "subject": " ".join(notice.subject.split()),
            "serial": notice.serial,
        }
        channel = Mail(self.settings._replace(to=notice.addresses), self.secret)
        channel.deliver(_as_channels_know_it(notice), _SUBJECT.format(**facts), _TEXT.format(**facts))


def _as_channels_know_it(notice: "RenewalNotice") -> Notice:
    return Notice(
        fingerprint=notice.serial,
        address="",
        subject=notice.subject,
        not_after_at=notice.not_after_at,
        days_left=notice.days_left,
        threshold=notice.threshold,
        reason="",
    )
