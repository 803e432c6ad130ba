"""The authority's side of CMP (RFC 9810, as RFC 9483 has it).

conversation = Conversation(office)
answer_der = conversation.answer(request_der, source="203.0.113.7")
"""

from dojang.authority.conversation.conversation import Conversation as Conversation
