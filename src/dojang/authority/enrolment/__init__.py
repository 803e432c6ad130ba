"""Enrolment: who may have a certificate, and the reference number and authorization code that let him ask for it.

``Office`` is what officers do: applicants, identity checks, codes, approvals. ``Enrolments`` is what the conversation
with applicants needs: prove a code, count wrong ones, use a right one up, exactly once. States are in ``states``, what
an authority says about all this in ``policy``, codes in ``codes``.

``Counter`` takes orders by name, from here or from an officer far away, whom ``Officers`` knows by his certificate.
"""

from dojang.authority.enrolment.enrolments import Enrolments as Enrolments
from dojang.authority.enrolment.enrolments import Offer as Offer
from dojang.authority.enrolment.office import Handed as Handed
from dojang.authority.enrolment.office import Office as Office
from dojang.authority.enrolment.officers import Officer as Officer
from dojang.authority.enrolment.officers import Officers as Officers
from dojang.authority.enrolment.orders import ORDERS as ORDERS
from dojang.authority.enrolment.orders import Counter as Counter
from dojang.authority.enrolment.policy import EnrolmentPolicy as EnrolmentPolicy
from dojang.authority.enrolment.records import Enrolment as Enrolment
from dojang.authority.enrolment.records import Terms as Terms
from dojang.authority.enrolment.sources import source_of as source_of
