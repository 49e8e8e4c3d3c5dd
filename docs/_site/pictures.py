"""README's pictures: ``mqttws demo``, and ``mqttws doctor`` at a proxy that refuses, really run.

``python docs/_site/pictures.py`` writes docs/demo.svg and docs/doctor.svg. It needs squid and the
extra "cli". What the commands print is drawn as it comes, with rich; only the names of this machine
and of its kernel are others.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parents[1]
PROXY_PORT = 3128
COLUMNS = 108
SQUID = """
http_port 127.0.0.1:{port}
acl cloud dstdomain .azure-devices-provisioning.net
http_access deny cloud
http_access allow all
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
cache_effective_user {user}
visible_hostname proxy.example
"""
# The picture loads nothing from another host.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def output_of(*arguments: str) -> str:
    """Return what a command prints on a terminal."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "FORCE_COLOR": "1",
        "COLUMNS": str(COLUMNS),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mqttws", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    printed = done.stdout.replace(f"from {platform.node()} ", "from pump-7 ")
    return f"$ mqttws {' '.join(arguments)}\n{printed.replace(platform.release(), '6.12')}"


def draw(text: str, title: str, file: Path) -> None:
    """Write a terminal with the text on it as SVG."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, color_system="truecolor")
        console.print(Text.from_ansi(text.rstrip()))
        svg = console.export_svg(title=title, code_format=FORMAT, unique_id="mqttws")
    file.write_text(svg + "\n", encoding="utf-8")


def doctor_at_a_proxy() -> str:
    """Return what ``mqttws doctor`` says of a proxy that refuses the service's name."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # noqa: S103 - squid runs as another user
        settings = Path(folder, "squid.conf")
        settings.write_text(SQUID.format(port=PROXY_PORT, folder=folder, user="proxy"))
        squid = subprocess.Popen(["squid", "-N", "-f", settings])
        try:
            time.sleep(2)
            return output_of(
                "doctor",
                "global.azure-devices-provisioning.net",
                "--proxy",
                f"http://localhost:{PROXY_PORT}",
            )
        finally:
            squid.terminate()
            squid.wait()


def main() -> None:
    """Draw both."""
    draw(output_of("demo"), "mqttws demo", DOCS / "demo.svg")
    draw(doctor_at_a_proxy(), "mqttws doctor, at a proxy that refuses", DOCS / "doctor.svg")


if __name__ == "__main__":
    main()
