"""What is said of a new password for a file: the rule that is set, everything it breaks, and how strong it is."""

from typing import TYPE_CHECKING

from dojang.cli.language import N_, say
from dojang.errors import InvalidSetting, PasswordUnfit, Phrase

if TYPE_CHECKING:
    from dojang.npki.password_rules import PasswordRule
    from dojang.secret import Secret
    from dojang.settings import Settings

NO_RULE = "none"
_BAR = 4


class PasswordCheck:
    """Holds a new password against one rule, or against none."""

    def __init__(self, rule: "PasswordRule | None") -> None:
        """``None``: anything but an empty password will do."""
        self._rule = rule

    def problems(self, password: "Secret") -> list[Phrase]:
        """Everything that is wrong with it; none of it repeats the password."""
        if not len(password):
            return [Phrase(N_("it is empty"))]
        return [] if self._rule is None else self._rule.problems(password)

    def refuse_unfit(self, password: "Secret", purpose: str) -> None:
        """``PasswordUnfit`` with everything at once."""
        if problems := self.problems(password):
            raise PasswordUnfit(purpose=purpose, rule=self._rule.name if self._rule else NO_RULE, problems=problems)

    def verdict(self, text: str) -> str:
        """For the meter: how strong it is so far, and the first thing that is still wrong."""
        from dojang.npki.password_rules import strength_of
        from dojang.secret import Secret

        secret = Secret(text)
        strength = strength_of(secret)
        bar = "#" * strength.level + "." * (_BAR - strength.level)
        words = [f"[{bar}]", say(strength.word.template)]
        if problems := self.problems(secret):
            words += ["–", say(problems[0].template, **problems[0].facts)]
        return " ".join(words)


def password_check(settings: "Settings") -> PasswordCheck:
    """By the setting ``password-policy``. ``InvalidSetting`` where no rule has that name."""
    from dojang.npki.password_rules import DEFAULT, password_rules

    name, rules = settings.password_policy or DEFAULT, password_rules()
    if name != NO_RULE and name not in rules:
        choices = ", ".join([*rules, NO_RULE])
        raise InvalidSetting(
            path=settings.config_path,
            problem=Phrase("'password-policy' names no rule; choose one of: {choices}", choices=choices),
        )
    return PasswordCheck(rules.get(name))
