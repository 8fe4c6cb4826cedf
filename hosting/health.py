"""`python -m hosting.health URL`: a health check's question. Ends with 0 where the answer is a 200, and prints it.

It runs every few seconds for as long as a container does, so it imports nothing that takes time.
"""

import http.client
import sys
from urllib.parse import urlsplit

_SECONDS = 4.0
_MOST_BYTES = 10_000


def main() -> int:
    """Ask the URL that is our only argument; answers the exit code."""
    url = urlsplit(sys.argv[1])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_SECONDS)
    try:
        connection.request("GET", url.path)
        answer = connection.getresponse()
        told = f"{answer.status} {answer.read(_MOST_BYTES).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(f"{told}\n")
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
