"""Validity periods (RFC 5280 section 4.1.2.5): their edges, and how the times are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.conformance.issuing import DAY, SECOND, VALIDITY, leaf, middle, root, validity, with_part
from tests.conformance.registry import NOW, Given, case, given

START, END = NOW - DAY, NOW + 90 * DAY
LAST_SECOND = "OpenSSL up to 3.x ends one second early (X509_cmp_time), OpenSSL 4 as RFC 5280 says"


@case(openssl=0, webpki=True)
def valid_chain() -> Given:
    """A root, an intermediate and a server certificate without any fault are accepted."""
    top, below = middle()
    return given(leaf(below), top)


@case(openssl=0, webpki=True)
def valid_below_the_root() -> Given:
    """A server certificate issued by the root itself is accepted."""
    top = root()
    return given(leaf(top), top)


@case(openssl=0, webpki=True)
def at_the_first_second() -> Given:
    """A certificate is valid in the very second of its not_before."""
    top = root()
    return given(leaf(top, not_before=NOW, not_after=END), top)


@case(openssl=9, webpki=False, primary="x509.certificate-not-yet-valid")
def one_second_before_not_before() -> Given:
    """A certificate is not valid one second before its not_before."""
    top = root()
    return given(leaf(top, not_before=NOW + SECOND, not_after=END), top)


@case(openssl=0, webpki=True)
def one_second_before_not_after() -> Given:
    """A certificate is valid one second before its not_after."""
    top = root()
    return given(leaf(top, not_before=START, not_after=NOW + SECOND), top)


@case(openssl=0, webpki=True, program={0, 10}, why=LAST_SECOND)
def at_the_last_second() -> Given:
    """The second of not_after belongs to the validity (RFC 5280), and every stack counts it."""
    top = root()
    return given(leaf(top, not_before=START, not_after=NOW), top)


@case(openssl=10, webpki=False, primary="x509.certificate-expired")
def one_second_after_not_after() -> Given:
    """A certificate has expired one second after its not_after."""
    top = root()
    return given(leaf(top, not_before=START, not_after=NOW - SECOND), top)


@case(openssl=0, webpki=True, program={0, 10}, why=LAST_SECOND)
def half_a_second_after_not_after() -> Given:
    """Times of certificates are whole seconds: half a second later the last second still runs."""
    top = root()
    issued = leaf(top, not_before=START, not_after=NOW)
    return given(issued, top, at=NOW + timedelta(milliseconds=500))


@case(openssl=10, webpki=False, primary="x509.certificate-expired")
def expired_leaf() -> Given:
    """A server certificate that ended a year ago is refused."""
    top, below = middle()
    return given(leaf(below, not_before=NOW - 730 * DAY, not_after=NOW - 365 * DAY), top)


@case(openssl=9, webpki=False, primary="x509.certificate-not-yet-valid")
def not_yet_valid_leaf() -> Given:
    """A server certificate that begins tomorrow is refused."""
    top, below = middle()
    return given(leaf(below, not_before=NOW + DAY, not_after=END), top)


@case(openssl=10, webpki=False, primary="x509.intermediate-expired")
def expired_intermediate() -> Given:
    """An expired intermediate breaks the only path."""
    top, below = middle(not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    return given(leaf(below, now=NOW), top)


@case(openssl=9, webpki=False, primary="x509.certificate-not-yet-valid")
def not_yet_valid_intermediate() -> Given:
    """An intermediate of the future breaks the only path."""
    top, below = middle(not_before=NOW + DAY)
    return given(leaf(below), top)


@case(openssl=10, webpki=False, primary="x509.anchor-expired")
def expired_root() -> Given:
    """The dates of trust anchors are checked too."""
    top = root(not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    return given(leaf(top.intermediate()), top)


@case(openssl=9, webpki=False, primary="x509.certificate-not-yet-valid")
def not_yet_valid_root() -> Given:
    """A root whose validity begins tomorrow cannot be an anchor today."""
    top = root(not_before=NOW + DAY)
    return given(leaf(top), top)


@case(openssl=0, webpki=True, program={0, 10}, why=LAST_SECOND)
def root_at_its_last_second() -> Given:
    """The last second counts for a trust anchor as well."""
    top = root(not_before=START, not_after=NOW)
    return given(leaf(top), top)


@case(openssl=10, webpki=False, primary="x509.anchor-expired")
def everything_expired() -> Given:
    """Where root, intermediate and server certificate have all expired, all three are named."""
    old = {"not_before": NOW - 90 * DAY, "not_after": NOW - DAY}
    top = root(**old)
    return given(leaf(top.intermediate(**old), **old), top)


@case(openssl=9, webpki=False, primary="x509.certificate-expired")
def end_before_start() -> Given:
    """A certificate whose not_after lies before its not_before is never valid."""
    top = root()
    times = validity(b"300601120001Z", b"300601115959Z")
    issued = leaf(top).certificate
    return given(leaf(top), top).replacing(with_part(issued, top.key, VALIDITY, times))


@case(openssl=0, webpki=True)
def leaf_outlives_its_issuers() -> Given:
    """Validity is judged at one moment: a certificate may end after the root that issued it."""
    top = root(not_before=START, not_after=NOW + DAY)
    return given(leaf(top, not_before=START, not_after=NOW + 3650 * DAY), top)


@case(openssl=0, webpki=True)
def generalized_time_after_2049() -> Given:
    """Dates from 2050 on are written as GeneralizedTime and understood."""
    top = root(not_after=datetime(2079, 1, 1, tzinfo=UTC))
    issued = leaf(top, not_before=START, not_after=datetime(2051, 1, 1, tzinfo=UTC))
    return given(issued, top, at=datetime(2050, 7, 1, tzinfo=UTC))


@case(openssl=0, webpki=True)
def no_well_defined_end() -> Given:
    """99991231235959Z means that a certificate does not end (RFC 5280 section 4.1.2.5)."""
    forever = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    top = root(not_after=forever)
    return given(leaf(top, not_before=START, not_after=forever), top)


@case(openssl=10, webpki=False, primary="x509.certificate-expired")
def two_digit_year_of_the_last_century() -> Given:
    """The UTCTime 99… means 1999, not 2099."""
    top = root()
    times = validity(b"700101000000Z", b"991231235959Z")
    issued = leaf(top).certificate
    return given(leaf(top), top).replacing(with_part(issued, top.key, VALIDITY, times))


@case(openssl=0, webpki=False)
def generalized_time_before_2050() -> Given:
    """A date before 2050 as GeneralizedTime is against RFC 5280; its meaning is clear."""
    top = root()
    times = validity(b"20300101000000Z", b"20310101000000Z", (0x18, 0x18))
    issued = leaf(top).certificate
    return given(leaf(top), top).replacing(with_part(issued, top.key, VALIDITY, times))


@case(
    openssl=-1,
    webpki=False,
    primary="x509.malformed-certificate",
    program={13, -1},
    why="OpenSSL 3 loads such a time and refuses it, OpenSSL 4 cannot load it",
)
def utc_time_without_seconds() -> Given:
    """A UTCTime without seconds is against RFC 5280, and no stack reads it."""
    top = root()
    times = validity(b"3001010000Z", b"3101010000Z")
    issued = leaf(top).certificate
    return given(leaf(top), top).replacing(with_part(issued, top.key, VALIDITY, times))


@case(openssl=13, webpki=False, primary="x509.malformed-certificate")
def time_with_an_offset() -> Given:
    """A UTCTime with +0100 instead of Z is against RFC 5280, and no stack reads it."""
    top = root()
    times = validity(b"300101000000+0100", b"310101000000+0100")
    issued = leaf(top).certificate
    return given(leaf(top), top).replacing(with_part(issued, top.key, VALIDITY, times))
