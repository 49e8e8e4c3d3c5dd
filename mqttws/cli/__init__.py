"""The shell: ``mqttws demo``, ``mqttws provision``, ``mqttws serve``, ``mqttws publish``.

Knows how to start the program, and what to say where click and rich are not installed. One module
for each command; what they share is in ``common``. Nothing here is needed by the library.
"""

import sys

_NEEDED = ("click", "rich")
"""What the extra ``cli`` installs."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell shows it: 128 + SIGINT."""


def main() -> None:
    """Run the command line of this process and exit."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:  # so early or so late that no command was running
        sys.exit(INTERRUPTED)


def _run() -> int:
    try:
        from .app import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        print(
            f"mqttws: the command line needs {missing}, which is not installed;"
            " pip install 'mqttws[cli]'",
            file=sys.stderr,
        )
        return 1
    return run(sys.argv[1:])
