"""When Python looks for garbage that only it can find: objects that refer to each other in a circle."""

import gc

THRESHOLD = 20_000
"""How many more containers made than gone bring the collector; Python's default is 700."""


def collect_seldom() -> None:
    """What was made until now stays for good and is not looked at again; the collector comes less often.

    A batch of thousands of jobs is no garbage before it is dealt with: to look at it again and again, and at all that
    was imported, is a quarter of a request with many jobs and a fifth of a filling. For a handler, once it is imported.
    """
    gc.freeze()
    gc.set_threshold(THRESHOLD)
