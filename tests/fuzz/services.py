"""Fuzz targets of the services: tokens, enrollments, topics and bodies of DPS and hub, the shell."""

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .target import Check, Target, text_of

KEY = b"0123456789abcdef" * 2


def load_sas() -> Check:
    """Return the check of SAS tokens."""
    from mqttws.dps import sas
    from mqttws.errors import UsageError

    def check(data: bytes) -> None:
        text = text_of(data)
        for candidate in (text, f"SharedAccessSignature {text}"):
            token = sas.read_token(candidate)
            assert (sas.parse_token(candidate) is None) is isinstance(token, str)
            fault = sas.token_fault(candidate, "0ne1", "device", [KEY], 1000.0)
            if isinstance(token, str):
                assert token.isprintable()
                assert fault is not None
            else:
                # A short one may stand in the words around it by chance.
                hidden = len(token.signature) < 8 or token.signature in token.resource_text
                assert hidden or token.signature not in repr(token)
                assert not token.is_signed_by(KEY)
        name = text[:40].encode("utf-8", "replace").decode()
        signed = sas.sign_token(f"0ne1/registrations/{name}", KEY, 2000, name)
        read = sas.read_token(signed)
        assert isinstance(read, sas.Token)
        assert read.is_signed_by(KEY)
        assert read.key_name == name
        assert sas.token_fault(signed, "0ne1", name, [KEY], 3000.0) is not None
        try:
            key = sas.decode_key(text)
        except UsageError as error:
            assert str(error).isprintable()
        else:
            assert sas.MIN_KEY_SIZE <= len(key) <= sas.MAX_KEY_SIZE

    return check


def load_enrollments() -> Check:
    """Return the check of enrollments in JSON."""
    from mqttws.dps.enrollment_json import enrollment_to_json, parse_enrollments
    from mqttws.errors import UsageError

    def check(data: bytes) -> None:
        text = text_of(data)
        for candidate in (text, ENROLLMENT.replace('"@"', text)):
            try:
                found = parse_enrollments(candidate, "file")
            except UsageError as error:
                assert str(error).isprintable()
                continue
            for one in found:
                again = json.dumps(enrollment_to_json(one))
                assert enrollment_to_json(parse_enrollments(again, "file")[0]) == json.loads(again)

    return check


def load_dps() -> Check:
    """Return the check of DPS's topics and bodies, on both sides."""
    from mqttws.dps import registration, topics
    from mqttws.dps.decisions import read_request
    from mqttws.dps.names import parse_username
    from mqttws.errors import MqttwsError

    def check(data: bytes) -> None:
        first, _, body = data.partition(b"\n")
        topic = text_of(first)
        read_request(topics.Message(topic, body), 1)
        asked = topics.parse_request_topic(topic)
        if isinstance(asked, topics.Register):
            again = topics.parse_request_topic(topics.register_topic(asked.request_id))
            assert isinstance(again, topics.Register)
            assert unquote(again.request_id) == asked.request_id  # as it was sent, not decoded
        parse_username(topic)
        device = registration.Registration("device", request_ids=map(str, itertools.count(1)))
        device.start(0.0)
        for name in (topic, "$dps/registrations/res/" + topic, "$dps/registrations/res/202/?$rid=1",
                     "$dps/registrations/res/200/?$rid=1"):  # fmt: skip
            device.receive(topics.Message(name, body), 1.0)
        device.describe()
        if device.error is not None:
            assert isinstance(device.error, MqttwsError)
            assert str(device.error).isprintable()
            assert device.error.hop is not None
        elif device.result is None and device.deadline is not None:
            assert device.deadline >= 0.0

    return check


def load_hub() -> Check:
    """Return the check of the hub's topics and bodies, on both sides."""
    from mqttws.errors import UsageError
    from mqttws.hub import credentials, topics
    from mqttws.hub.device import twin as device_twin
    from mqttws.hub.device.connection_string import parse_connection_string
    from mqttws.hub.device.messages import parse_cloud_message
    from mqttws.hub.device.requests import fault_from_json
    from mqttws.hub.service import methods, twin
    from mqttws.hub.service.query import Query, parse_query
    from mqttws.hub.service.requests import parse_names, parse_request

    def topics_of(topic: str, body: bytes) -> None:
        parse_request(topic)
        parse_names(topic)
        topics.parse_username(topic)
        parse_cloud_message(topic, body)
        credentials.parse_issue_topic(topic)
        credentials.parse_issue_answer_topic(topic)
        topics.parse_input_topic(topic)
        topics.parse_desired_topic(topic)
        topics.parse_twin_response_topic(topic)
        call = topics.parse_method_topic(topic)
        if call is not None:
            topics.method_response_topic(200, call.request_id)
        found = topics.parse_telemetry_topic(topic)
        if found is not None:
            bag = {name: value for name, value in found[1].items() if name}
            try:
                built = topics.build_properties(bag)
            except UsageError:
                assert any("\ud800" <= character <= "\udfff" for character in topic)
            else:
                assert topics.parse_properties(built) == bag

    def bodies(value: Any) -> None:
        device_twin.twin_from_json(value)
        fault_from_json(400, value)
        methods.read_invocation(value)
        fault = twin.section_fault(value)
        if fault is None and isinstance(value, dict):
            made = twin.new_twin({"properties": {"desired": value}}, 1.0)
            if isinstance(made, twin.Twin):
                twin.report(made, value, 2.0)
                json.dumps(twin.service_view(made))
                view = json.loads(json.dumps(twin.device_view(made)))
                assert isinstance(device_twin.twin_from_json(view), device_twin.Twin)

    def check(data: bytes) -> None:
        first, _, body = data.partition(b"\n")
        topic = text_of(first)
        topics_of(topic, body)
        topics_of("devices/d/messages/events/" + topic, body)
        query = parse_query(text_of(body))
        if isinstance(query, Query):
            query.rows([{"deviceId": "d", "tags": {"a": 1}, "properties": {"desired": {}}}])
        try:
            parse_connection_string(topic)
        except UsageError as error:
            assert str(error).isprintable()
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return
        bodies(value)

    return check


def load_cli() -> Check:
    """Return the check of what is typed at the shell, and of the files that it reads."""
    import click

    from mqttws.cli.app import app as main
    from mqttws.cli.files import read_json
    from mqttws.cli.fleet_file import read_fleet
    from mqttws.errors import UnusableFile, UsageError
    from mqttws.hub.service.faults import parse_hub_fault

    place = Path(tempfile.mkdtemp(prefix="fuzz-cli-")) / "file"
    place.touch(mode=0o600)  # a file of keys that others can read is warned of
    commands = list(leaves(main, ()))

    def check(data: bytes) -> None:
        path, command = commands[(data[0] if data else 0) % len(commands)]
        words = text_of(data[1:]).split("\n")
        try:
            command.make_context(" ".join(path), words, resilient_parsing=False)
        except (click.ClickException, UsageError, UnusableFile) as error:
            assert str(error) or isinstance(error, click.exceptions.NoArgsIsHelpError)
        except (click.exceptions.Exit, click.Abort):
            pass
        place.write_bytes(data)
        try:
            fleet = read_fleet(str(place), None, None)
        except (UsageError, UnusableFile) as error:
            assert str(error).isprintable()
        else:
            assert all(str(fault).isprintable() for fault in fleet.faults)
        try:
            order = read_json(str(place), "orders")
        except (UsageError, UnusableFile) as error:
            assert str(error).isprintable()
            return
        try:
            parse_hub_fault(order)
        except UsageError as error:
            assert str(error).isprintable()

    return check


def leaves(command: Any, path: tuple[str, ...]) -> Any:
    """Yield each command that has no commands below it, with its names."""
    import click

    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is not None:
            yield from leaves(below, (*path, name))


ENROLLMENT = (
    '{"registrationId": "d", "attestation": {"type": "symmetricKey", "symmetricKey":'
    ' {"primaryKey": "MDEyMzQ1Njc4OWFiY2RlZg==", "secondaryKey": "MDEyMzQ1Njc4OWFiY2RlZg=="}},'
    ' "@": "@", "initialTwin": "@"}'
)

TARGETS = {
    "sas": Target(
        "any text is a token or one printable reason, never signed by a key that did not; what was"
        " signed is read as it was",
        ("mqttws.dps.sas",),
        load_sas,
        (
            b"SharedAccessSignature sr=0ne1%2Fregistrations%2Fdevice&sig=AAAA%3D&se=2000&skn=registration",
            b"sr=0ne1/registrations/device&sig=a%2Bb&se=99",
            b"MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u",
        ),
        (
            "mqttws/dps/sas.py",
            'name, _, value = pair.partition("=")',
            'name, value = pair.split("=")',
        ),
        largest=160,
    ),
    "enrollments": Target(
        "any JSON is enrollments or one printable UsageError; what was read is written and read the"
        " same again",
        ("mqttws.dps.enrollment_json", "mqttws.dps.attestation_json", "mqttws.dps.json_reader"),
        load_enrollments,
        (
            b'[{"enrollmentGroupId": "g", "attestation": {"type": "symmetricKey"}}]',
            b'{"registrationId": "d", "attestation": {"type": "tpm", "tpm": {"endorsementKey": "AAAA"}}}',
            b'{"registrationId":"d","deviceId":"x","provisioningStatus":"disabled","attestation":'
            b'{"type":"x509","x509":{"caReferences":{"primary":"a"}}},"allocationPolicy":"static",'
            b'"iotHubs":["h.example"],"reprovisionPolicy":{"updateHubAssignment":true,'
            b'"migrateDeviceData":false},"capabilities":{"iotEdge":true},"etag":"\\"1\\""}',
            b'{"tags": {"a": 1}, "properties": {"desired": {"b": null}}}',
            b"null",
        ),
        (
            "mqttws/dps/json_reader.py",
            "if not isinstance(",
            "if False and not isinstance(",
        ),
        largest=400,
        words='{ } [ ] , : "" null true -1 1e999 registrationId enrollmentGroupId deviceId attestation'
        " type symmetricKey x509 tpm primaryKey secondaryKey clientCertificates signingCertificates"
        " caReferences primary secondary endorsementKey provisioningStatus enabled disabled"
        " allocationPolicy hashed geoLatency static custom iotHubs iotHubHostName"
        " customAllocationDefinition webhookUrl apiVersion reprovisionPolicy updateHubAssignment"
        " migrateDeviceData initialTwin tags properties desired capabilities iotEdge etag",
    ),
    "dps": Target(
        "any topic and body is read or refused by the service, and taken by a registration without an"
        " exception",
        ("mqttws.dps.topics", "mqttws.dps.registration", "mqttws.dps.names", "mqttws.dps.answers"),
        load_dps,
        (
            b"$dps/registrations/PUT/iotdps-register/?$rid=1\n{}",
            b"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.a\n",
            b'$dps/registrations/res/202/?$rid=1&retry-after=3\n{"operationId":"4.a","status":"assigning"}',
            b'$dps/registrations/res/200/?$rid=1\n{"operationId":"4.a","status":"assigned",'
            b'"registrationState":{"assignedHub":"h","deviceId":"d","registrationId":"device"}}',
            b'$dps/registrations/res/401/?$rid=1\n{"errorCode":401002,"message":"no","trackingId":"t"}',
            b"0ne1/registrations/device/api-version=2019-03-31&ClientVersion=x\n",
        ),
        (
            "mqttws/dps/topics.py",
            "def _seconds(text: str) -> float | None:\n",
            "def _seconds(text: str) -> float | None:\n    return float(text)\n\n\n"
            "def _seconds_before(text: str) -> float | None:\n",
        ),
        largest=300,
        words='{ } [ ] , : "" null true -1 1e999 operationId status assigning assigned failed disabled'
        " registrationState assignedHub deviceId registrationId errorCode message trackingId payload"
        " retry-after= $rid= operationId= $dps/registrations/ res/ PUT/ GET/ iotdps-register/"
        " iotdps-get-operationstatus/ /registrations/ api-version= ClientVersion= & ? 200 202 429 503 \u00b2 \u0663",
    ),
    "hub": Target(
        "any topic, user name, query and body is read or refused; a bag of properties and a twin are"
        " the same when they are read again",
        (
            "mqttws.hub.topics",
            "mqttws.hub.credentials",
            "mqttws.hub.device.twin",
            "mqttws.hub.device.connection_string",
            "mqttws.hub.device.messages",
            "mqttws.hub.device.requests",
            "mqttws.hub.service.methods",
            "mqttws.hub.service.twin",
            "mqttws.hub.service.query",
            "mqttws.hub.service.requests",
        ),
        load_hub,
        (
            b"devices/d/messages/events/%24.mid=1&a=b&c\n{}",
            b"devices/d/modules/m/messages/events/\nx",
            b"devices/d/modules/m/inputs/in/a=b\n",
            b'$iothub/twin/PATCH/properties/reported/?$rid=1\n{"a": {"b": null}}',
            b'$iothub/twin/res/200/?$rid=1&$version=3\n{"desired":{"$version":1},"reported":{"$version":2}}',
            b'$iothub/twin/PATCH/properties/desired/?$version=3\n{"a": 1, "$version": 3}',
            b"$iothub/twin/res/204/?$rid=1&$version=4\n",
            b'$iothub/methods/POST/reboot/?$rid=1\n{"methodName":"a","responseTimeoutInSeconds":5}',
            b"$iothub/methods/res/-1/?$rid=1\n",
            b"$iothub/credentials/POST/issueCertificate/?$rid=1\n",
            b"h.example/d/m/?api-version=2021-04-12&DeviceClientType=x\n"
            b"SELECT * FROM devices WHERE tags.a = 1 AND NOT deviceId IN ['d'] OR x != 'y'",
            b"HostName=h.example;DeviceId=d;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==\n[1,2]",
        ),
        (
            "mqttws/hub/topics.py",
            "if topic.startswith(_DESIRED) and _digits(version) else None",
            "if topic.startswith(_DESIRED) and version else None",
        ),
        largest=300,
        words='{ } [ ] , : "" null true -1 1e999 $version $metadata $rid= desired reported tags'
        " properties methodName payload responseTimeoutInSeconds connectTimeoutInSeconds SELECT FROM"
        " WHERE AND OR NOT IN devices devices.modules deviceId moduleId tags.a properties.reported.a"
        " IS_DEFINED( ) = != <> < <= > >= 'd' HostName= DeviceId= ModuleId= SharedAccessKey="
        " SharedAccessKeyName= GatewayHostName= x509=true messages/events/ inputs/ $iothub/ methods/"
        " twin/ res/ POST/ PATCH/ GET/ credentials/ issueCertificate %24.mid= ?api-version= & ? ; 0 -1 200 \u00b2 \u0663",
    ),
    "cli": Target(
        "any words after a command are taken or refused with a message, and so is any file that holds"
        " a fleet or orders",
        ("mqttws.cli.fleet_file", "mqttws.cli.files", "mqttws.hub.service.faults"),
        load_cli,
        (
            b"\x00--host\nh:443\n--port\n70000",
            b"\x05--proxy\nhttp://p:1\n--help",
            b"registration_id,key,payload\nd,MDEyMzQ1Njc4OWFiY2RlZg==,{}\n",
            b'{"kind": "answer", "status": 429, "times": 2, "operation": "twin-get"}',
        ),
        (
            "mqttws/cli/fleet_file.py",
            "    except csv.Error as error:  # the rows behind it have no known ends",
            "    except KeyError as error:  # the rows behind it have no known ends",
        ),
        largest=200,
    ),
}
