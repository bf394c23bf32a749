"""TLS is fine, and the MQTT session is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tbdiag.model import Credentials, Secret
from tbdiag.registry import scenario
from tbdiag.sandbox.knobs import (
    ClosedBeforeConnack,
    ClosedOnPublish,
    DisconnectedAfterConnack,
    ForcedConnack,
    ForcedPuback,
    GarbageConnack,
    NoAttributeResponse,
    NoConnack,
    NoPuback,
)
from tbdiag.sandbox.profile import DEFAULT_TOKEN, Device
from tbdiag.sandbox.stand import Room, Stand, token_credentials

REFUSED = {"tls.verify": "ok", "mqtt.connect": "failed", "mqtt.publish": "blocked"}
SHORT = {"timeout": 6.0}


@scenario("wrong-token", primary="mqtt.bad-credentials", status=REFUSED)
@contextmanager
def wrong_token(room: Room) -> Iterator[Stand]:
    """The token belongs to no device here; MQTT 5 says 0x86."""
    credentials = token_credentials("AnotherDevicesToken1")
    with room.serve(room.broker(), credentials=credentials) as stand:
        yield stand


@scenario("wrong-token-old-server", primary="mqtt.not-authorized", status=REFUSED)
@contextmanager
def wrong_token_old(room: Room) -> Iterator[Stand]:
    """The token belongs to no device here; MQTT 3.1.1 says Return code 5."""
    credentials = token_credentials("AnotherDevicesToken1")
    with room.serve(room.broker(generation="3.4"), credentials=credentials) as stand:
        yield stand


@scenario("no-username", primary="mqtt.identifier-rejected", status=REFUSED)
@contextmanager
def no_username(room: Room) -> Iterator[Stand]:
    """A Client Identifier and no username: ThingsBoard calls the identifier invalid."""
    credentials = Credentials(client_id="my-device")
    with room.serve(room.broker(), credentials=credentials) as stand:
        yield stand


@scenario("profile-of-another-transport", primary="mqtt.server-unavailable", status=REFUSED)
@contextmanager
def other_transport(room: Room) -> Iterator[Stand]:
    """The device profile's transport type is CoAP: ThingsBoard says the server is unavailable."""
    with room.serve(room.broker(profile="coap")) as stand:
        yield stand


@scenario("sparkplug-profile", primary="mqtt.server-unavailable", status=REFUSED)
@contextmanager
def sparkplug(room: Room) -> Iterator[Stand]:
    """The device profile is Sparkplug, and the CONNECT has no NDEATH will."""
    with room.serve(room.broker(profile="sparkplug")) as stand:
        yield stand


@scenario("unsupported-version", primary="mqtt.protocol-version", status=REFUSED)
@contextmanager
def unsupported_version(room: Room) -> Iterator[Stand]:
    """The broker refuses MQTT 5 and 3.1.1 alike."""
    with room.serve(room.broker(ForcedConnack(return_code=1, reason_code=0x84))) as stand:
        yield stand


@scenario("quota-exceeded", primary="mqtt.quota-exceeded", status=REFUSED)
@contextmanager
def quota_exceeded(room: Room) -> Iterator[Stand]:
    """The tenant's message rate limit is used up."""
    with room.serve(room.broker(ForcedConnack(return_code=3, reason_code=0x9F))) as stand:
        yield stand


@scenario("banned", primary="mqtt.banned", status=REFUSED)
@contextmanager
def banned(room: Room) -> Iterator[Stand]:
    """The server has banned this client."""
    with room.serve(room.broker(ForcedConnack(return_code=5, reason_code=0x8A))) as stand:
        yield stand


@scenario("no-connack", primary="mqtt.no-connack", status={"mqtt.connect": "failed"})
@contextmanager
def no_connack(room: Room) -> Iterator[Stand]:
    """CONNECT is never answered."""
    with room.serve(room.broker(NoConnack()), options=SHORT) as stand:
        yield stand


@scenario("closed-before-connack", primary="mqtt.closed-before-connack", status=REFUSED)
@contextmanager
def closed_before_connack(room: Room) -> Iterator[Stand]:
    """CONNECT is answered by a close."""
    with room.serve(room.broker(ClosedBeforeConnack())) as stand:
        yield stand


@scenario("reset-before-connack", primary="mqtt.closed-before-connack", status=REFUSED)
@contextmanager
def reset_before_connack(room: Room) -> Iterator[Stand]:
    """CONNECT is answered by a reset."""
    with room.serve(room.broker(ClosedBeforeConnack(reset=True))) as stand:
        yield stand


@scenario("not-mqtt", primary="mqtt.not-mqtt", status=REFUSED)
@contextmanager
def not_mqtt(room: Room) -> Iterator[Stand]:
    """Behind the TLS is something that is not MQTT."""
    with room.serve(room.broker(GarbageConnack())) as stand:
        yield stand


@scenario("session-takeover", primary="mqtt.session-takeover")
@contextmanager
def session_takeover(room: Room) -> Iterator[Stand]:
    """Another client with the same token takes the session over at once."""
    with room.serve(room.broker(DisconnectedAfterConnack(0x8E))) as stand:
        yield stand


@scenario("disconnected", primary="mqtt.disconnected")
@contextmanager
def disconnected(room: Room) -> Iterator[Stand]:
    """The server ends the session right after it accepted it: the credentials changed."""
    with room.serve(room.broker(DisconnectedAfterConnack(0x98))) as stand:
        yield stand


@scenario("provision-session", primary="mqtt.provision-session", status=REFUSED)
@contextmanager
def provision_session(room: Room) -> Iterator[Stand]:
    """The Client Identifier is `provision`: ThingsBoard accepts anyone, and proves nothing."""
    credentials = Credentials(token=Secret(DEFAULT_TOKEN), client_id="provision")
    with room.serve(room.broker(), credentials=credentials) as stand:
        yield stand


@scenario("custom-topic", primary="mqtt.publish-topic-rejected")
@contextmanager
def custom_topic(room: Room) -> Iterator[Stand]:
    """The device profile has a telemetry topic of its own."""
    with room.serve(room.broker(profile="custom-topic")) as stand:
        yield stand


@scenario("protobuf-profile", primary="mqtt.publish-payload-rejected")
@contextmanager
def protobuf(room: Room) -> Iterator[Stand]:
    """The device profile wants Protobuf, and the message is JSON."""
    with room.serve(room.broker(profile="protobuf")) as stand:
        yield stand


@scenario("no-puback", primary="mqtt.publish-no-puback")
@contextmanager
def no_puback(room: Room) -> Iterator[Stand]:
    """The message is never acknowledged."""
    with room.serve(room.broker(NoPuback()), options=SHORT) as stand:
        yield stand


@scenario("closed-on-publish", primary="mqtt.publish-closed")
@contextmanager
def closed_on_publish(room: Room) -> Iterator[Stand]:
    """The connection is closed when the message arrives: a rate limit, or API usage exceeded."""
    with room.serve(room.broker(ClosedOnPublish(0x83))) as stand:
        yield stand


@scenario("publish-quota", primary="mqtt.quota-exceeded")
@contextmanager
def publish_quota(room: Room) -> Iterator[Stand]:
    """The acknowledgement says that the quota is exceeded."""
    with room.serve(room.broker(ForcedPuback(0x97))) as stand:
        yield stand


@scenario("publish-refused", primary="mqtt.publish-refused")
@contextmanager
def publish_refused(room: Room) -> Iterator[Stand]:
    """The acknowledgement carries an unspecified error."""
    with room.serve(room.broker(ForcedPuback(0x80))) as stand:
        yield stand


@scenario("payload-too-large", primary="mqtt.publish-too-large")
@contextmanager
def too_large(room: Room) -> Iterator[Stand]:
    """The message is larger than the server takes."""
    options = {"payload": b'{"blob":"' + b"x" * 70_000 + b'"}'}
    with room.serve(room.broker(), options=options) as stand:
        yield stand


@scenario("generic-broker", rules=("mqtt.attributes-no-response",), status={"mqtt.publish": "ok"})
@contextmanager
def generic_broker(room: Room) -> Iterator[Stand]:
    """A broker that does not answer ThingsBoard's attribute request."""
    with room.serve(room.broker(NoAttributeResponse())) as stand:
        yield stand


@scenario("gateway-topic", primary="mqtt.publish-no-puback")
@contextmanager
def gateway_topic(room: Room) -> Iterator[Stand]:
    """A device that is no gateway publishes to the gateway topic: ThingsBoard stays silent."""
    options = {
        "topic": "v1/gateway/telemetry",
        "payload": b'{"Device A":[{"ts":1700000000000,"values":{"t":1}}]}',
        **SHORT,
    }
    with room.serve(room.broker(), options=options) as stand:
        yield stand


@scenario("placeholder-token", primary="token.malformed")
@contextmanager
def placeholder(room: Room) -> Iterator[Stand]:
    """The token is the documentation's placeholder."""
    with room.serve(room.broker(), credentials=token_credentials("$ACCESS_TOKEN")) as stand:
        yield stand


@scenario("token-in-arguments", rules=("token.in-arguments",), status={"mqtt.connect": "ok"})
@contextmanager
def in_arguments(room: Room) -> Iterator[Stand]:
    """The token stands in the command line, where every user of the machine can read it."""
    credentials = Credentials(token=Secret(DEFAULT_TOKEN), token_source="arguments")
    with room.serve(room.broker(), credentials=credentials) as stand:
        yield stand


@scenario("mqtt-basic", status={"mqtt.connect": "ok", "mqtt.publish": "ok"})
@contextmanager
def basic(room: Room) -> Iterator[Stand]:
    """A device with MQTT Basic credentials: client id, username and password."""
    device = Device(client_id="dev-1", username="user", password="a-password")
    credentials = Credentials(username="user", password=Secret("a-password"), client_id="dev-1")
    with room.serve(room.broker(devices=[device]), credentials=credentials) as stand:
        yield stand
