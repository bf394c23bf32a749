"""The names MQTT gives to its packets, Return codes, Reason Codes and properties.

MQTT 3.1.1 is the OASIS standard of 29 October 2014, MQTT 5.0 that of 7 March 2019; "section" in
this package always means a section of one of them.
"""

from enum import IntEnum
from typing import Final


class PacketType(IntEnum):
    """MQTT Control Packet types (sections 2.2.1 of 3.1.1, 2.1.2 of 5.0)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Version(IntEnum):
    """Protocol Level (3.1.1) or Protocol Version (5.0) of CONNECT, section 3.1.2.2."""

    V31 = 3
    V311 = 4
    V5 = 5

    @property
    def label(self) -> str:
        """The number people say: "3.1", "3.1.1" or "5"."""
        return {3: "3.1", 4: "3.1.1", 5: "5"}[self.value]


CONNACK_RETURN_CODES: Final[dict[int, str]] = {
    0: "Connection Accepted",
    1: "Connection Refused, unacceptable protocol version",
    2: "Connection Refused, identifier rejected",
    3: "Connection Refused, Server unavailable",
    4: "Connection Refused, bad user name or password",
    5: "Connection Refused, not authorized",
}
"""CONNACK Return codes of MQTT 3.1 and 3.1.1 (3.1.1, section 3.2.2.3, table 3.1)."""

SUBACK_RETURN_CODES: Final[dict[int, str]] = {
    0x00: "Success - Maximum QoS 0",
    0x01: "Success - Maximum QoS 1",
    0x02: "Success - Maximum QoS 2",
    0x80: "Failure",
}
"""SUBACK Return codes of MQTT 3.1.1 (section 3.9.3)."""

REASON_CODES: Final[dict[int, str]] = {
    0x00: "Success",
    0x01: "Granted QoS 1",
    0x02: "Granted QoS 2",
    0x04: "Disconnect with Will Message",
    0x10: "No matching subscribers",
    0x11: "No subscription existed",
    0x18: "Continue authentication",
    0x19: "Re-authenticate",
    0x80: "Unspecified error",
    0x81: "Malformed Packet",
    0x82: "Protocol Error",
    0x83: "Implementation specific error",
    0x84: "Unsupported Protocol Version",
    0x85: "Client Identifier not valid",
    0x86: "Bad User Name or Password",
    0x87: "Not authorized",
    0x88: "Server unavailable",
    0x89: "Server busy",
    0x8A: "Banned",
    0x8B: "Server shutting down",
    0x8C: "Bad authentication method",
    0x8D: "Keep Alive timeout",
    0x8E: "Session taken over",
    0x8F: "Topic Filter invalid",
    0x90: "Topic Name invalid",
    0x91: "Packet Identifier in use",
    0x92: "Packet Identifier not found",
    0x93: "Receive Maximum exceeded",
    0x94: "Topic Alias invalid",
    0x95: "Packet too large",
    0x96: "Message rate too high",
    0x97: "Quota exceeded",
    0x98: "Administrative action",
    0x99: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0x9E: "Shared Subscriptions not supported",
    0x9F: "Connection rate exceeded",
    0xA0: "Maximum connect time",
    0xA1: "Subscription Identifiers not supported",
    0xA2: "Wildcard Subscriptions not supported",
}
"""Reason Codes of MQTT 5.0 (section 2.4, table 2-6); 0x00 has two more names, see `code_name`."""

_ZERO_NAMES = {PacketType.DISCONNECT: "Normal disconnection", PacketType.SUBACK: "Granted QoS 0"}


def code_name(code: int, packet_type: PacketType, version: Version) -> str:
    """Return the name the specification gives to a Return code or Reason Code.

    The same number means different things in CONNACK, SUBACK and DISCONNECT, and in 3.1.1 and 5.0.
    A number the specification does not list is "unknown code 0x..", never an error.
    """
    if version is not Version.V5:
        table = SUBACK_RETURN_CODES if packet_type is PacketType.SUBACK else CONNACK_RETURN_CODES
    elif code == 0 and packet_type in _ZERO_NAMES:
        return _ZERO_NAMES[packet_type]
    else:
        table = REASON_CODES
    return table.get(code, f"unknown code 0x{code:02X}")


PROPERTIES: Final[dict[int, tuple[str, str]]] = {
    0x01: ("payload_format_indicator", "byte"),
    0x02: ("message_expiry_interval", "four"),
    0x03: ("content_type", "string"),
    0x08: ("response_topic", "string"),
    0x09: ("correlation_data", "binary"),
    0x0B: ("subscription_identifier", "variable"),
    0x11: ("session_expiry_interval", "four"),
    0x12: ("assigned_client_identifier", "string"),
    0x13: ("server_keep_alive", "two"),
    0x15: ("authentication_method", "string"),
    0x16: ("authentication_data", "binary"),
    0x17: ("request_problem_information", "byte"),
    0x18: ("will_delay_interval", "four"),
    0x19: ("request_response_information", "byte"),
    0x1A: ("response_information", "string"),
    0x1C: ("server_reference", "string"),
    0x1F: ("reason_string", "string"),
    0x21: ("receive_maximum", "two"),
    0x22: ("topic_alias_maximum", "two"),
    0x23: ("topic_alias", "two"),
    0x24: ("maximum_qos", "byte"),
    0x25: ("retain_available", "byte"),
    0x26: ("user_property", "pair"),
    0x27: ("maximum_packet_size", "four"),
    0x28: ("wildcard_subscription_available", "byte"),
    0x29: ("subscription_identifier_available", "byte"),
    0x2A: ("shared_subscription_available", "byte"),
}
"""Property identifier to name and encoding (5.0, section 2.2.2.2, table 2-4)."""
