"""What the checks see: facts in the words of the RFCs, one frozen type per stage, no verdicts.

Text that a file or a server supplied is kept as it came; whoever shows it escapes it for its sink.
Times are aware datetimes in UTC, durations are milliseconds, fingerprints lower-case hex.
"""

from __future__ import annotations

from tbdiag.evidence.certificates import (
    DAY,
    CaEvidence,
    CaProblem,
    CaSource,
    Certificate,
    PublicKey,
)
from tbdiag.evidence.network import (
    Alert,
    DnsEvidence,
    HandshakeEvidence,
    TcpAttempt,
    TcpEvidence,
    VerifyError,
)
from tbdiag.evidence.sessions import (
    NOT_MQTT,
    AttributesEvidence,
    ConnackAttempt,
    HttpTokenEvidence,
    MqttConnectEvidence,
    PublishAttempt,
    PublishEvidence,
)
from tbdiag.evidence.verification import ClientDecision, NameMatch, SecondOpinion, VerifyEvidence

__all__ = [
    "DAY",
    "NOT_MQTT",
    "Alert",
    "AttributesEvidence",
    "CaEvidence",
    "CaProblem",
    "CaSource",
    "Certificate",
    "ClientDecision",
    "ConnackAttempt",
    "DnsEvidence",
    "HandshakeEvidence",
    "HttpTokenEvidence",
    "MqttConnectEvidence",
    "NameMatch",
    "PublicKey",
    "PublishAttempt",
    "PublishEvidence",
    "SecondOpinion",
    "TcpAttempt",
    "TcpEvidence",
    "VerifyError",
    "VerifyEvidence",
]
