"""No secret gets out: not in output, logs, tracebacks, nor in the list of processes.

One run of ``serve`` and of many ``provision``, ``publish`` and ``subscribe``, good ones and failing
ones, with every log at DEBUG, packets traced and tracebacks shown. Then every secret that was used
is searched for, in every form that it could have.
"""

import base64
import json
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from mqttws import SymmetricKey
from mqttws.dps.sas import derive_device_key
from mqttws.local.certificates import prepare_certificates

from .shell import environment, peer, run_process, serving

SCOPE = "0ne00SECRETS"
FRAGMENT = 16
"""Characters at a secret's beginning and end that must not be seen either: a line may be cut."""

LOUD = {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"}


def forms_of_text(text: str) -> set[bytes]:
    """Return the ways in which a secret text can be written."""
    quoted = {text, quote(text, safe=""), quote(text)}
    quoted |= {re.sub("%..", lambda found: found[0].lower(), form) for form in quoted}
    long = {form for form in quoted if len(form) >= FRAGMENT}
    return {
        form.encode()
        for form in long | {form[:FRAGMENT] for form in long} | {form[-FRAGMENT:] for form in long}
    }


def forms_of_bytes(secret: bytes) -> set[bytes]:
    """Return the ways in which secret bytes can be written."""
    encoded = (base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode())
    found = {form for text in encoded for form in forms_of_text(text.rstrip("=")) if form}
    found |= {form for text in encoded for form in forms_of_text(text)}
    found |= forms_of_text(secret.hex()) | forms_of_text(secret.hex().upper())
    found |= forms_of_text(repr(secret)[2:-1]) | forms_of_text(repr(list(secret))[1:-1])
    return found | {secret}


def forms_of_token(token: str) -> set[bytes]:
    """Return the ways in which a SAS token, or the signature in it, can be written."""
    signature = token.partition("sig=")[2].partition("&")[0]
    padded = signature.replace("%2F", "/").replace("%2B", "+").replace("%3D", "=")
    found = {token.encode(), base64.b64encode(token.encode())}
    return found | forms_of_text(signature) | forms_of_bytes(base64.b64decode(padded))


def leaks(text: bytes, forms: Iterable[bytes]) -> list[bytes]:
    """Return the forms that are in ``text``."""
    return [form for form in forms if form in text]


class ProcessList:
    """The command lines of all processes, from the beginning to the end of a run."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.sweeps = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def sweep(self) -> None:
        """Look once."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                self.seen.add((process / "cmdline").read_bytes())
            except OSError:  # it has ended meanwhile
                continue
        self.sweeps += 1

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.sweep()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look again and again."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            self.sweep()


def key() -> bytes:
    return secrets.token_bytes(64)


def text_of(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc here")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_secret_is_seen_anywhere(tmp_path: Path) -> None:
    primary, secondary, group_primary, group_secondary, wrong = (key() for _ in range(5))
    records = [
        record("registrationId", "device-1", primary, secondary),
        record("enrollmentGroupId", "group-1", group_primary, group_secondary),
    ]
    key_file = tmp_path / "device.key"
    key_file.write_text(text_of(primary))
    password = text_of(key())
    password_file = tmp_path / "client.password"
    password_file.write_text(password)
    half_a_key = text_of(key())[:-3]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps([*records, record("registrationId", "a", key(), b"short")]))
    not_json = tmp_path / "not.json"
    not_json.write_text(json.dumps(records)[:-1])

    seen: list[bytes] = []
    processes = ProcessList()
    began = int(time.time())

    def provision(*words: str | Path, stdin: str = "", code: int = 0, **variables: str) -> None:
        loud = ("--trace", "--debug", "--timeout", "15")
        done = run_process("provision", *words, *loud, stdin=stdin, **variables, **LOUD)
        # 1 stands for any failure: on a hop it has the hop's own code.
        assert done.returncode == code or (code == 1 and done.returncode >= 10), done.stderr
        seen.append((done.stdout + done.stderr).encode())

    with processes.watched():
        options = ("--id-scope", SCOPE, "--debug")
        with serving(tmp_path, records, *options, **LOUD) as service:
            here = service.to_reach
            device = (*here, "--registration-id", "device-1")
            member = (*here, "--registration-id", "member-1")
            provision(*device, "--key-file", key_file)
            # A registration is pinned to the key that it was made with.
            provision(*device, "--json", MQTTWS_KEY=text_of(secondary), code=1)
            provision(*member, "--group-key", "--key-file", "-", stdin=text_of(group_primary))
            provision(*member, "--group-key", MQTTWS_KEY=text_of(group_secondary), code=1)
            # Forced failures, each with its traceback.
            provision(*device, MQTTWS_KEY=text_of(wrong), code=1)
            provision(*member, MQTTWS_KEY=text_of(group_primary), code=1)
            provision(*device, "--id-scope", "0ne00WRONG", "--key-file", key_file, code=1)
            provision(*device, "--path", "/wrong", "--key-file", key_file, "--json", code=1)
            provision(*device, "--host", "host.invalid", "--key-file", key_file, code=1)
            other = prepare_certificates(tmp_path / "other")
            provision(*device, "--ca", other.ca_file, "--key-file", key_file, code=1)
            mqtts_port = str(service.place["mqtts_port"])
            provision(*device, "--port", mqtts_port, "--key-file", key_file, code=1)
            provision(*device, MQTTWS_KEY=half_a_key, code=2)
            provision(*device, "--key-file", broken, code=41)
            # A peer that sends CONNECT back, password and all.
            with peer(lambda connect: connect, other.context()) as port:
                where = ("--port", str(port), "--ca", other.ca_file, "--transport", "mqtts")
                provision(*device, *where, "--key-file", key_file, code=1)
                # The same with a password of a client's own, from wherever it can come.
                for command, options in (("publish", ("--payload", "p")), ("subscribe", ())):
                    url = f"mqtts://127.0.0.1:{port}"
                    login = (url, "topic", "--username", "someone", "--ca", other.ca_file)
                    loud = (*login, *options, "--trace", "--debug")
                    for file, stdin, variables in (
                        (password_file, "", {}),
                        ("-", password, {}),
                        (None, "", {"MQTTWS_PASSWORD": password}),
                    ):
                        source = () if file is None else ("--password-file", file)
                        done = run_process(
                            command, *loud, *source, stdin=stdin, **variables, **LOUD
                        )
                        assert done.returncode == 18, done.stderr
                        seen.append((done.stdout + done.stderr).encode())
            for file in (broken, not_json):
                refused = run_process("serve", "--enrollments", file, "--debug", **LOUD)
                assert refused.returncode == 41
                seen.append((refused.stdout + refused.stderr).encode())
        # An example device, whose key is made on the spot.
        with serving(tmp_path / "example", None, "--debug", **LOUD) as example:
            command = example.place["example"]["command"]
            done = subprocess.run(
                ["/bin/sh", "-c", f"{command} --trace --debug"],
                capture_output=True,
                env=environment(**LOUD),
                check=True,
            )
            seen.append(done.stdout + done.stderr)
    for running in (service.running, example.running):
        seen.append("\n".join(running.stdout + running.stderr).encode())
    ended = int(time.time())

    # The run was as loud as it could be.
    output = b"\n".join(seen)
    assert output.count(b"Traceback (most recent call last)") > 10
    for sign in (b"DEBUG mqttws.packets", b"DEBUG asyncio", b"> Connect(", b"401", b"mqttws.local"):
        assert sign in output, sign
    command_lines = b"\n".join(processes.seen)
    assert processes.sweeps > 10
    for sign in (b"mqttws\0serve", b"mqttws\0provision", b"--key-file\0", b"mqttws\0subscribe"):
        assert sign in command_lines, sign

    example_key = base64.b64decode((tmp_path / "example" / "example-device.key").read_text())
    derived = [derive_device_key(k, "member-1") for k in (group_primary, group_secondary)]
    signing = [
        (SCOPE, "device-1", [primary, secondary, wrong]),
        ("0ne00WRONG", "device-1", [primary]),
        (SCOPE, "member-1", [*derived, group_primary]),
        ("0ne00LOCAL", "example-device", [example_key]),
    ]
    forms = forms_of_text(half_a_key) | forms_of_bytes(base64.b64decode(password))
    forms |= forms_of_bytes(group_secondary)
    for scope, registration_id, keys in signing:
        for secret in keys:
            forms |= forms_of_bytes(secret)
            credential = SymmetricKey(registration_id, text_of(secret))
            for second in range(began, ended + 1):
                forms |= forms_of_token(credential.password(scope, second))
    for folder in (tmp_path, tmp_path / "example", tmp_path / "other"):
        for private in folder.glob("*.key"):
            if private.name in ("ca.key", "server.key"):
                forms |= {line for line in private.read_bytes().splitlines() if b"-" not in line}
    assert leaks(output, forms) == []
    assert leaks(command_lines, forms) == []


def record(kind: str, name: str, primary: bytes, secondary: bytes) -> dict[str, object]:
    keys = {"primaryKey": text_of(primary), "secondaryKey": text_of(secondary)}
    return {kind: name, "attestation": {"type": "symmetricKey", "symmetricKey": keys}}


# The search itself can fail


SECRET = bytes(range(7, 71))
TOKEN = SymmetricKey("device-1", text_of(SECRET)).password(SCOPE, 1_900_000_000)


@pytest.mark.parametrize(
    "planted",
    [
        text_of(SECRET),
        text_of(SECRET)[:20],
        quote(text_of(SECRET), safe=""),
        SECRET.hex(),
        SECRET.hex().upper(),
        repr(SECRET),
    ],
)
def test_the_search_finds_a_planted_key(planted: str) -> None:
    done = run_process(command=(sys.executable, "-c", f"raise ValueError('found ' + {planted!r})"))
    assert "Traceback" in done.stderr
    assert leaks(done.stderr.encode(), forms_of_bytes(SECRET))


def test_the_search_finds_a_key_that_was_given_for_something_else() -> None:
    wrong = ("--id-scope", SCOPE, "--registration-id", "d", "--ca", text_of(SECRET))
    done = run_process(
        "provision", *wrong, "--trace", "--debug", "--json", MQTTWS_KEY=text_of(bytes(64))
    )
    assert done.returncode == 41
    assert leaks(done.stdout.encode(), forms_of_bytes(SECRET))
    assert leaks(done.stderr.encode(), forms_of_bytes(SECRET))


@pytest.mark.parametrize("form", ["token", "signature", "unquoted", "decoded"])
def test_the_search_finds_a_planted_token(form: str) -> None:
    signature = TOKEN.partition("sig=")[2].partition("&")[0]
    unquoted = signature.replace("%2F", "/").replace("%2B", "+").replace("%3D", "=")
    planted = {
        "token": TOKEN,
        "signature": signature,
        "unquoted": unquoted,
        "decoded": base64.b64decode(unquoted).hex(),
    }[form]
    assert leaks(f"... {planted} ...".encode(), forms_of_token(TOKEN))


def test_the_search_finds_nothing_where_nothing_is() -> None:
    assert leaks(b"a harmless line", forms_of_bytes(SECRET) | forms_of_token(TOKEN)) == []


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc here")
def test_the_search_finds_a_secret_in_a_command_line() -> None:
    processes = ProcessList()
    program = "import sys; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, text_of(SECRET)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        processes.sweep()
    assert leaks(b"\n".join(processes.seen), forms_of_bytes(SECRET))
