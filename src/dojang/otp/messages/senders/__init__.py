"""Senders, one a file: each is a class with ``from_table``, ``kind`` and ``send``, as ``sending.Sender`` wants it."""
