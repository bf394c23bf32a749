"""Why a stage does not apply to a target, in one sentence for the user."""

from __future__ import annotations

from tbdiag.model import Options, Target


def encrypted_only(target: Target, options: Options) -> str | None:
    """A TLS stage does not apply to a plain port."""
    del options
    if target.transport.encrypted:
        return None
    return f"{target.transport}:// is not encrypted: there is no certificate to check"


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
