"""Builds the packet codec with mypyc, where that can be; everything else is in pyproject.toml.

The codec is plain Python that runs as it is. Compiled, it does the same several times as fast. A
machine without a C compiler, or without mypyc, gets it uncompiled: ``mqttws.wire.COMPILED`` tells
which it is. ``MQTTWS_PURE=1`` asks for that.
"""

import ast
import inspect
import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
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

WITHOUT_COMPILING = {"egg_info", "dist_info", "sdist"}
"""The commands that ask what the package needs, or pack its source: nothing is built then."""


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


class TaggedByContent(bdist_wheel):
    """Tags the wheel by what was built: py3-none-any where the codec stayed uncompiled."""

    def run(self):
        """Build first, since only then it is known whether there is anything compiled."""
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        self.plat_name_supplied = self.plat_name_supplied and not self.root_is_pure
        super().run()


def write_docstrings(header):
    """Write the docstrings of the compiled modules as a table in C, for _docstrings.c."""
    rows = []
    for path in COMPILED_MODULES:
        module = path.removesuffix(".py").replace("/", ".")
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        for name, node in [("", tree), *named(tree)]:
            if text := ast.get_docstring(node, clean=False):
                rows.append((module, name, inspect.cleandoc(text)))
    lines = [f"    {{{c_string(m)}, {c_string(n)}, {c_string(text)}}}," for m, n, text in rows]
    header.parent.mkdir(parents=True, exist_ok=True)
    header.write_text(
        "static const struct { const char *module, *name, *text; } DOCSTRINGS[] = {\n"
        + "\n".join([*lines, "    {NULL, NULL, NULL},", "};", ""]),
        encoding="ascii",
    )


def named(node, prefix=""):
    """Return every public class, function and method with its name within the module."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from named(child, f"{child.name}.")


def c_string(text):
    """Return a C string literal, in ASCII."""
    plain = {ord("\n"): "\\n", ord('"'): '\\"', ord("\\"): "\\\\"}
    return (
        '"'
        + "".join(
            plain.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}")
            for byte in text.encode()
        )
        + '"'
    )


def extensions():
    """Return the extensions to build; none where mypyc cannot be had, or nothing is built."""
    if os.environ.get("MQTTWS_PURE") == "1" or WITHOUT_COMPILING & set(sys.argv):
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
            group_name="mqttws.wire._codec",  # the name of the library beside the modules
        )
        docstrings = Path("build", "docstrings")
        write_docstrings(docstrings / "mqttws_docstrings.h")
        return [
            *compiled,
            Extension("mqttws.wire._vectorcall", ["mqttws/wire/_vectorcall.c"]),
            Extension(
                "mqttws.wire._docstrings",
                ["mqttws/wire/_docstrings.c"],
                include_dirs=[str(docstrings)],
            ),
        ]
    except (ImportError, SystemExit, Exception) as error:
        print(f"mqttws: the codec stays uncompiled: {error}", file=sys.stderr)
        return []


setup(
    ext_modules=extensions(), cmdclass={"build_ext": AllOrNothing, "bdist_wheel": TaggedByContent}
)
