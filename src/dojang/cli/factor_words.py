"""Factors as a person calls them."""

from dojang.cli.language import N_, _

FACTOR_NAMES = {
    "otp": N_("one-time password"),
    "card": N_("security card"),
    "sms": N_("text message"),
    "mail": N_("e-mail"),
    "ars": N_("telephone call"),
}


def factor_name(factor: str) -> str:
    """In the language of whoever reads it; what an authority elsewhere may want besides, by its own word."""
    return _(FACTOR_NAMES[factor]) if factor in FACTOR_NAMES else factor
