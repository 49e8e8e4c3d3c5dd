"""A gateway that publishes readings, and keeps on the disk what its broker has not acknowledged.

``python forwarder.py URL FILE.db`` reads lines from standard input, and publishes each with QoS 1.
The rest is in the file: the next start sends it.
"""

import sys

import mqttws


def main() -> int:
    """Publish each line of standard input."""
    if len(sys.argv) != 3:
        print("usage: forwarder.py URL FILE.db", file=sys.stderr)
        return 2
    url, file = sys.argv[1:]
    client = mqttws.Client(
        url, client_id="forwarder", clean_session=False, store=mqttws.SqliteStore(file)
    )
    with client:
        receipts = [
            client.publish_nowait("readings", line.strip().encode(), qos=1) for line in sys.stdin
        ]
        client.flush()  # until the file has them
        try:
            for receipt in receipts:
                receipt.wait(30)  # until the broker has them
        except mqttws.RequestTimedOut as error:
            print(f"{error}; the rest stays in {file}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
