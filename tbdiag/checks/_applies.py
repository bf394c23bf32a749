"""Why a stage does not apply to a target, in one sentence for the user."""

from __future__ import annotations

from tbdiag.model import Options, Target, Transport
from tbdiag.registry import Applies

INSTALL_COAP = "CoAP needs aiocoap, which is not installed: pip install 'tbdiag[coap]'"


def encrypted_only(target: Target, options: Options) -> str | None:
    """A TLS stage does not apply to a plain port."""
    del options
    if target.transport.encrypted:
        return None
    return f"{target.transport}:// is not encrypted: there is no certificate to check"


def proxied(target: Target, options: Options) -> bool:
    """Whether the connection goes through `--proxy`: every one over TCP does, CoAP does not."""
    return bool(options.proxy) and target.transport not in (Transport.COAP, Transport.COAPS)


def with_credentials(target: Target, options: Options) -> str | None:
    """An MQTT stage needs permission and something to authenticate with."""
    if not options.connect:
        return "left out by --no-connect"
    if not target.credentials.present:
        return "no token given: set TBDIAG_TOKEN or use --token-file to test the MQTT session"
    return None


def with_publish(target: Target, options: Options) -> str | None:
    """The test publish needs a session and permission."""
    reason = with_credentials(target, options)
    if reason is None and not options.publish:
        return "left out by --no-publish"
    return reason


def with_device_token(target: Target, options: Options) -> str | None:
    """A stage of an HTTP or CoAP device needs permission and what the URL proves the device by.

    That is the access token; with coaps:// an X.509 device has none and shows its certificate.
    """
    if not options.connect:
        return "left out by --no-connect"
    if target.credentials.token:
        return None
    if target.credentials.certfile and target.transport is Transport.COAPS:
        return None
    if target.credentials.present:
        return f"ThingsBoard's {target.transport} device API knows devices by access token only"
    return "no token given: set TBDIAG_TOKEN or use --token-file to test the device API"


def with_device_publish(target: Target, options: Options) -> str | None:
    """The test telemetry of an HTTP or CoAP device needs a token and permission."""
    reason = with_device_token(target, options)
    if reason is None and not options.publish:
        return "left out by --no-publish"
    return reason


def unless_no_connect(target: Target, options: Options) -> str | None:
    """The first question to an HTTP or CoAP server needs permission, and nothing secret."""
    del target
    return None if options.connect else "left out by --no-connect"


def with_aiocoap(applies: Applies) -> Applies:
    """`applies`, and besides: a CoAP stage needs the library of the extra `coap`."""

    def both(target: Target, options: Options) -> str | None:
        from tbdiag.protocol.coap import installed

        return applies(target, options) or (None if installed() else INSTALL_COAP)

    return both
