"""Which certificate has to be on the device: worked out, proved, and encoded for its firmware.

>>> from tbdiag.recommend import Sources, encode, recommend            # doctest: +SKIP
>>> sources = Sources.of(ca, verify.opinion)                           # doctest: +SKIP
>>> found = recommend(handshake.certificate_list, sources, host, now)  # doctest: +SKIP
>>> encode(found.anchors, "arduino")                                   # doctest: +SKIP
"""

from tbdiag.recommend.aia import fetch_issuers
from tbdiag.recommend.decide import CONFIDENCE, Recommendation, Sources, recommend
from tbdiag.recommend.encode import ENCODERS, encode

__all__ = [
    "CONFIDENCE",
    "ENCODERS",
    "Recommendation",
    "Sources",
    "encode",
    "fetch_issuers",
    "recommend",
]
