"""How much of an executor one merchant may fill.

The dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998): a merchant may hold up to `SHARE` times the
room that is left. One alone fills three quarters; each that joins with slow targets gets a smaller part of the rest,
and there is always some room for the next.
"""

SHARE = 3


def allowance(held: int, room: int) -> int:
    """How many more jobs a merchant may take that holds `held`, when there is `room` for so many."""
    return max(0, (SHARE * room - held) // (SHARE + 1))
