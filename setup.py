"""Builds the packet codec with mypyc, where that can be; everything else is in pyproject.toml.

The codec is plain Python that runs as it is. Compiled, it does the same several times as fast. A
machine without a C compiler, or without mypyc, gets it uncompiled: ``mqttws.wire.COMPILED`` tells
which it is. ``MQTTWS_PURE=1`` asks for that.
"""

import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILED_MODULES = [
    "mqttws/wire/fields.py",
    "mqttws/wire/topics.py",
    "mqttws/wire/value.py",
    "mqttws/wire/connecting.py",
    "mqttws/wire/publishing.py",
    "mqttws/wire/subscribing.py",
    "mqttws/wire/packets.py",
    "mqttws/wire/pieces.py",
    "mqttws/wire/framing.py",
    "mqttws/wire/calls.py",
]

METADATA_ALONE = {"egg_info", "dist_info"}
"""The commands with which pip asks what the package needs, before it has it built."""


class AllOrNothing(build_ext):
    """Builds every extension, or leaves all of them out: half a codec would not import."""

    def run(self):
        """Build, and fall back to nothing built."""
        try:
            super().run()
        except Exception as error:  # whatever went wrong, the pure codec does the same
            print(f"mqttws: the codec stays uncompiled: {error}", file=sys.stderr)
            self.leave_out()

    def leave_out(self):
        """Forget the extensions, and remove those that were already built."""
        for extension in self.extensions:
            path = self.get_ext_fullpath(extension.name)
            if os.path.exists(path):
                os.remove(path)
        self.extensions.clear()


def extensions():
    """Return the extensions to build; none where mypyc cannot be had, or nothing is built."""
    if os.environ.get("MQTTWS_PURE") == "1" or METADATA_ALONE & set(sys.argv):
        return []
    try:
        from mypyc.build import mypycify

        compiled = mypycify(
            # The codec has its own settings: _given.py is another matter for the compiler, and what
            # else the package holds, with its dependencies, need not be there to compile it.
            [
                "--config-file=",
                "--strict",
                "--follow-imports=silent",
                "--ignore-missing-imports",
                "--always-true=COMPILING",
                "--always-true=COMPILED",
                *COMPILED_MODULES,
            ],
            opt_level="3",
            group_name="mqttws_wire",
        )
        return [*compiled, Extension("mqttws.wire._vectorcall", ["mqttws/wire/_vectorcall.c"])]
    except (ImportError, SystemExit, Exception) as error:
        print(f"mqttws: the codec stays uncompiled: {error}", file=sys.stderr)
        return []


setup(ext_modules=extensions(), cmdclass={"build_ext": AllOrNothing})
