"""The doors of a centre, one file for each family of addresses.

Each has ``routes(state) -> list[Route]``: what it answers, for the authorities that ``state`` has open. A door is
async only where it reads the request and writes the answer; the work is handed to ``state.run``.
"""
