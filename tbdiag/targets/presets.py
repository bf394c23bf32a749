"""Known installations: their MQTT host, the HTTP base that offers the CA, and what to know."""

from __future__ import annotations

from tbdiag.model import Target, Transport

PRESETS: dict[str, Target] = {
    "thingsboard-cloud": Target(
        "mqtt.thingsboard.cloud",
        8883,
        label="ThingsBoard Cloud (North America)",
        http_url="https://thingsboard.cloud",
        preset="thingsboard-cloud",
    ),
    "thingsboard-cloud-eu": Target(
        "mqtt.eu.thingsboard.cloud",
        8883,
        label="ThingsBoard Cloud (Europe)",
        http_url="https://eu.thingsboard.cloud",
        preset="thingsboard-cloud-eu",
    ),
    "thingsboard-demo": Target(
        "demo.thingsboard.io",
        1883,
        Transport.MQTT,
        label="ThingsBoard Live Demo",
        http_url="https://demo.thingsboard.io",
        preset="thingsboard-demo",
        notes=(
            "The Live Demo offers no MQTT over TLS: 8883 refuses connections, only 1883 answers. "
            "To test MQTT over TLS, use ThingsBoard Cloud: tbdiag check thingsboard-cloud",
        ),
    ),
    "iothub-magenta": Target(
        "iothub.magenta.at",
        8883,
        label="Magenta IoT Hub",
        http_url="https://iothub.magenta.at",
        cafile=("public",),
        preset="iothub-magenta",
    ),
}
"""By name. ThingsBoard's roots have changed more than once, so no root is kept here: the CA comes
from the platform's own download, or from the public roots."""

_HOSTS = {
    "mqtt.thingsboard.cloud": "thingsboard-cloud",
    "thingsboard.cloud": "thingsboard-cloud",
    "coap.thingsboard.cloud": "thingsboard-cloud",
    "mqtt.eu.thingsboard.cloud": "thingsboard-cloud-eu",
    "eu.thingsboard.cloud": "thingsboard-cloud-eu",
    "coap.eu.thingsboard.cloud": "thingsboard-cloud-eu",
    "demo.thingsboard.io": "thingsboard-demo",
    "iothub.magenta.at": "iothub-magenta",
}


def preset_for_host(host: str) -> Target | None:
    """The preset that a host name belongs to, or None."""
    name = _HOSTS.get(host.lower().rstrip("."))
    return PRESETS[name] if name else None
