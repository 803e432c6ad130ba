"""Places for keys in the words of people: what each kind is good for, and in what state a place is now."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from dojang.cli.credentials import LOCATIONS
from dojang.cli.describe import pin_state_names, pin_words
from dojang.cli.language import N_, _, say

if TYPE_CHECKING:
    from dojang.locations.base import Traits
    from dojang.locations.present import Here

PATIENCE: Final = 5.0
"""Seconds to wait for all places together before a person is shown those that answered."""
_ROOM_PATIENCE: Final = 2.0

ADVICE: Final = {
    "token": N_(
        "Strongest. The key never leaves the token; signing needs the token and its PIN. Making a key takes a while."
    ),
    "removable": N_(
        "Handy. It goes where you go and can be locked away; whoever finds it has only the password to guess."
    ),
    "disk": N_("Weakest. Always at hand; whoever has the file and the password has the key, and so may any virus."),
    "pkcs12": N_("For other programs and for the safe. One file under one password; whoever has both has the key."),
    "pem": N_("For servers and other programs. Files that anybody reads who may read them, if no password is on them."),
    "phone": N_("The key stays in the phone, which asks before it signs."),
    "cloud": N_("The key stays with a signing service, and every signature needs the network."),
}
NOT_HERE: Final = {
    "phone": N_("no phone is paired with this computer"),
    "cloud": N_("no signing service is set up on this computer"),
}
OPENED_BY: Final = {"pin": N_("PIN"), "password": N_("password"), "nothing": N_("nothing")}


def place_title(here: "Here") -> str:
    """What people call a place."""
    if here.kind == "token":
        return say("Token {label}", label=here.name)
    if here.kind == "removable":
        return say("Removable disk {name}", name=here.name)
    return say("Folder {path}", path=here.name)


def state_words(here: "Here", free_bytes: int | None) -> str:
    """The PIN of a token, the room on a disk."""
    if here.token is not None:
        words = [say("PIN {state}", state=pin_words(here.token.info))]
        if here.token.info.write_protected:
            words.append(_("write-protected"))
        return ", ".join(words)
    words = [] if here.exists else [_("no certificate folder yet")]
    if free_bytes is not None:
        words.insert(0, say("{size} free", size=size_words(free_bytes)))
    return ", ".join(words)


def size_words(size: int) -> str:
    """``3.2 GiB``."""
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def can_take_a_key(here: "Here") -> bool:
    """Whether a key could be put there now, as far as is known without trying."""
    if here.token is None:
        return True
    info = here.token.info
    return not (info.write_protected or info.user_pin.locked or (info.login_required and not info.user_pin_set))


def free_room(places: "Iterable[Here]") -> dict[str, int]:
    """The free bytes of each disk by its address; a disk that does not say so in time is left out."""
    from dojang.pkcs11.roll_call import ask_all

    disks = [here for here in places if here.path is not None]
    found = zip(disks, ask_all(_free_bytes, disks, _ROOM_PATIENCE), strict=True)
    return {here.address: outcome.answer for here, outcome in found if outcome.answer is not None}


def traits_data(traits: "Traits") -> dict[str, Any]:
    """What a place states of itself, as JSON has it."""
    return {
        "key_leaves": traits.key_leaves,
        "copyable": traits.copyable,
        "opened_by": traits.opened_by,
        "listed_by": traits.listed_by,
        "holds_r": traits.holds_r,
        "watchable": traits.watchable,
    }


def state_data(here: "Here", free_bytes: int | None) -> dict[str, Any]:
    """The state of a place, as JSON has it."""
    if here.token is not None:
        info = here.token.info
        return {
            "user_pin": pin_state_names(info.user_pin),
            "user_pin_set": info.user_pin_set,
            "write_protected": info.write_protected,
        }
    return {"exists": here.exists, "free_bytes": free_bytes}


def kind_title(kind: str) -> str:
    """What people call a kind of place."""
    return _(LOCATIONS.get(kind, kind))


def yes_no(value: bool) -> str:
    return _("yes") if value else _("no")


def _free_bytes(here: "Here") -> int | None:
    import shutil

    assert here.path is not None
    for folder in (here.path, *here.path.parents):
        try:
            return shutil.disk_usage(folder).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
