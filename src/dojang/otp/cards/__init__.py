"""Security cards (보안카드): tables of four-digit codes on paper, of which two halves are asked for."""

from dojang.otp.cards.card import Card as Card
from dojang.otp.cards.card import NewCard as NewCard
from dojang.otp.cards.codes import Sealer as Sealer
from dojang.otp.cards.policy import CardPolicy as CardPolicy
from dojang.otp.cards.register import CardKeys as CardKeys
from dojang.otp.cards.register import Cards as Cards
