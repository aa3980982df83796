"""The image's health check: `python3 -IS health.py PORT PATH`; exit code 0 if this container answers 200 there.

The key decision: no curl, which would be one more program to keep up to date, and nothing of ours is imported: a check
every ten seconds may not cost more than starting Python does (some 20 ms of CPU).
"""

import http.client
import sys

TIMEOUT_SECONDS = 4.0
SHOWN_BYTES = 500


def main() -> int:
    """Ask once; what is wrong is printed, because `docker inspect` shows it."""
    if len(sys.argv) != 3 or not sys.argv[1].isdigit():
        print("usage: health.py PORT PATH", file=sys.stderr)
        return 2
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", sys.argv[2], headers={"Host": "localhost"})
        answer = connection.getresponse()
        body = answer.read(SHOWN_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        print(f"no answer on port {sys.argv[1]}: {exc}")
        return 1
    finally:
        connection.close()
    if answer.status != 200:
        print(f"{answer.status}: {body}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
