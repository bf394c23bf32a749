"""What can be wrong with a CA file before any certificate in it is looked at."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable, Iterator

from tbdiag.context import Case
from tbdiag.evidence import CaEvidence, CaProblem, CaSource
from tbdiag.model import Severity
from tbdiag.protocol.x509 import encode_pem
from tbdiag.registry import Fault, rule
from tbdiag.rules._ca_words import (
    accepted,
    get_it_again,
    line_of,
    named,
    own_sources,
    problems,
    refusal,
    troubled,
)

STAGE = "ca.load"
MOSQUITTO_TLS = "https://mosquitto.org/man/mosquitto_pub-1.html"
PEM = "RFC 7468 section 5"
CONNECTIVITY = "https://thingsboard.io/docs/user-guide/mqtt-over-ssl/"
_MOST_IN_PEM = 20
"""A finding offers a corrected file of at most this many certificates."""


trouble = functools.partial(rule, stage=STAGE, needs=CaEvidence, when=troubled)


@trouble("ca.file-not-found", reference=MOSQUITTO_TLS)
def file_not_found(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file does not exist.

    No file has the name given with --cafile. Check the spelling and the folder the command runs in,
    or let tbdiag write the file that the server needs.
    """
    for source, problem in problems(evidence, "file-not-found"):
        yield Fault(
            f"The CA file {named(source)} does not exist: {problem.detail}.",
            "The name is misspelt, or the command runs in another folder than the file is in.",
            f"Name an existing file with --cafile. {get_it_again(case, source)}",
            named(source),
        )


@rule("ca.file-unreadable", stage=STAGE, needs=CaEvidence, reference=MOSQUITTO_TLS)
def file_unreadable(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file cannot be read, or not to its end.

    The operating system refuses to open it (permissions, a folder), or it is larger than any CA
    file. Give the file to the user that runs the client, or name another one.
    """
    del case
    for source, problem in problems(evidence, "file-unreadable"):
        yield Fault(
            f"The CA file {named(source)} cannot be read: {problem.detail}.",
            "The user that runs this command may not read it, or it is not an ordinary file.",
            f"Look at its permissions: ls -ld {shlex.quote(source.location)}",
            named(source),
        )
    for source in own_sources(evidence):
        cut = [p.detail for p in source.problems if p.kind == "too-large"]
        if source.truncated:
            cut.append(f"{source.truncated:,} certificates beyond the limit were not read")
        if cut:
            yield Fault(
                f"Only a part of {named(source)} was read: {'; '.join(cut)}.",
                "It is larger than a device's CA file can sensibly be.",
                "Keep only the roots that the device needs: tbdiag ca recommend HOST:8883",
                named(source),
                Severity.WARNING,
            )


@trouble("ca.empty", reference=MOSQUITTO_TLS)
def empty(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file is empty.

    A download that failed, or a redirect of a command that printed nothing, leaves an empty file.
    """
    for source, problem in problems(evidence, "empty"):
        yield Fault(
            f"{named(source)} holds no certificate: {problem.detail}.",
            "The command or the download that should have written it produced nothing.",
            get_it_again(case, source),
            named(source),
        )


@trouble("ca.not-a-certificate", reference=PEM)
def not_a_certificate(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file is something else than certificates.

    An HTML page or a JSON error saved in place of the download, a private key, a certificate
    signing request, a public key, a CRL, a keystore: none of them can vouch for a server.
    """
    for source, problem in problems(evidence, "not-a-certificate"):
        alone = not source.certificates
        yield Fault(
            f"{named(source)}{line_of(problem)} is {problem.detail}."
            if alone
            else f"{named(source)} also holds {problem.detail}{line_of(problem)}.",
            _why_not(problem.detail),
            get_it_again(case, source)
            if alone
            else f"Remove that part from {shlex.quote(source.location)}; clients pass over it.",
            named(source),
            Severity.ERROR if alone else Severity.WARNING,
        )


def _why_not(detail: str) -> str:
    if detail.startswith(("an HTML page", "a JSON", "text that")):
        return (
            "The server answered with a page or an error message, which was saved as the CA file."
        )
    if "private key" in detail:
        return "The key file was given in place of the certificate: a key stays where it was made."
    if "signing request" in detail:
        return "A request only asks for a certificate; the CA's answer is the certificate."
    if "public key" in detail:
        return "A bare public key names nobody: clients need the certificate around it."
    if "password" in detail:
        return "Certificates inside it are encrypted, and no TLS client asks for that password."
    return "The wrong file was named: a CA file holds PEM blocks “BEGIN CERTIFICATE”."


@trouble("ca.corrupt-pem", reference=PEM)
def corrupt_pem(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """A PEM block in the CA file is damaged.

    A missing END line, a letter lost while copying, an indented or joined line. OpenSSL refuses the
    whole file for one damaged block, good certificates included; other stacks pass over it.
    """
    for source, problem in problems(evidence, "corrupt-pem"):
        yield Fault(
            f"{named(source)} is damaged: {problem.detail}.",
            "The certificate was cut, changed or re-indented while it was copied; OpenSSL refuses"
            " the whole file for it.",
            _rewrite(source) or get_it_again(case, source),
            named(source),
            refusal(case, refused=problem.refused),
            _corrected(source),
        )


@trouble("ca.not-pem", reference=MOSQUITTO_TLS)
def not_pem(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file is readable, but not the PEM that clients need.

    DER, PKCS#7, PKCS#12, UTF-16 text or a string of source code: tbdiag reads them, mosquitto, paho
    and most devices do not. Convert the file to PEM.
    """
    for source, problem in problems(evidence, "not-pem"):
        yield Fault(
            f"{named(source)} is not a plain PEM file: {problem.detail}.",
            "mosquitto, paho and most devices read PEM only."
            if problem.refused
            else "OpenSSL reads this form of PEM; many devices and modems do not.",
            _conversion(source),
            named(source),
            refusal(case, refused=problem.refused) if case.target.host else Severity.WARNING,
            _corrected(source),
        )


def _conversion(source: CaSource) -> str:
    file, new = shlex.quote(source.location), shlex.quote(_new_name(source))
    if source.origin == "file":
        commands = {
            "der": f"openssl x509 -inform der -in {file} -out {new}",
            "pkcs7-der": f"openssl pkcs7 -inform der -print_certs -in {file} -out {new}",
            "pkcs7-pem": f"openssl pkcs7 -print_certs -in {file} -out {new}",
            "pkcs12": f"openssl pkcs12 -nokeys -in {file} -out {new}",
        }
        if source.format in commands:
            return f"Convert it: {commands[source.format]}"
    return _rewrite(source) or "Save the certificate again as PEM (Base-64 encoded X.509, .pem)."


def _new_name(source: CaSource) -> str:
    """The name for a corrected copy, beside the file."""
    stem, dot, _ = source.location.rpartition(".")
    return f"{stem if dot and '/' not in source.location[len(stem) :] else source.location}-new.pem"


def _rewrite(source: CaSource) -> str:
    """The repair by a corrected copy, when there are certificates to copy."""
    if not source.certificates:
        return ""
    if source.origin != "file":
        return f"Save its {len(source.certificates)} certificates again as plain PEM."
    file, new = shlex.quote(source.location), shlex.quote(_new_name(source))
    if any(p.refused for p in source.problems):
        shown = f"tbdiag ca inspect -v {file}"
        return f"Put the corrected PEM (shown by {shown}) into {new} and use that file."
    if len(source.certificates) == 1:
        return f"Write it again: openssl x509 -in {file} -out {new}"
    read = f"openssl crl2pkcs7 -nocrl -certfile {file}"
    return f"Write it again: {read} | openssl pkcs7 -print_certs -out {new}"


def _corrected(source: CaSource) -> str | None:
    if 0 < len(source.certificates) <= _MOST_IN_PEM:
        return encode_pem(source.certificates, comments=True)
    return None


@trouble("ca.unwrapped-base64", severity=Severity.WARNING, reference="RFC 7468 section 2")
def unwrapped_base64(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The base64 of a certificate is not wrapped into lines of 64 columns.

    OpenSSL 3 and Python read such a file; parsers with a line buffer (modems, old OpenSSL) do not.
    The CA file that ThingsBoard's documentation offered for years is of this kind.
    """
    del case
    for source, problem in problems(evidence, "unwrapped-base64"):
        yield Fault(
            f"In {named(source)} {problem.detail}{line_of(problem)}.",
            "OpenSSL 3 reads it, but modems and parsers with a line buffer cut long lines off.",
            _rewrite(source),
            named(source),
            pem=_corrected(source),
        )


@trouble("ca.private-key-in-file", severity=Severity.WARNING)
def private_key_in_file(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file holds a private key.

    A CA file is copied to every device and published; a key in it is known to everybody who has
    the file. If it is the server's or the CA's key, replace the key, not only the file.
    """
    del case
    for source, problem in problems(evidence, "private-key"):
        yield Fault(
            f"{named(source)} holds {problem.detail}{line_of(problem)}.",
            "A CA file goes to every device: whoever has it has this key too.",
            "Remove the key from the file; if devices have the file already, issue a new key and"
            " certificate.",
            named(source),
            pem=_corrected(source),
        )


@rule("ca.download-failed", stage=STAGE, needs=CaEvidence, reference=CONNECTIVITY)
def download_failed(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """The CA file could not be downloaded.

    The URL does not answer, answers with an error or a page, or its own HTTPS certificate is not
    publicly trusted. With `auto` the public roots are used then.
    """
    for source, problem in problems(evidence, "download-failed"):
        yield Fault(
            f"{source.location} gave no CA file: {problem.detail}.",
            _why_no_download(source, problem),
            "Check the URL with curl -fSv"
            f" {shlex.quote(source.location)} -o ca.pem, or use --cafile FILE.",
            source.location,
        )
    for source, problem in _attempts(evidence):
        if problem.kind != "download-not-configured":
            yield Fault(
                f"{source.location} gave no CA file: {problem.detail}; the public roots are used.",
                _why_no_download(source, problem),
                "Name the installation's address with --http-url, or the CA file with --cafile.",
                source.location,
                _attempt_severity(case),
            )


def _attempts(evidence: CaEvidence) -> Iterator[tuple[CaSource, CaProblem]]:
    return ((source, p) for source in evidence.attempts for p in source.problems[:1])


def _attempt_severity(case: Case) -> Severity:
    return Severity.INFO if accepted(case) or not case.target.http_url else Severity.WARNING


def _why_no_download(source: CaSource, problem: CaProblem) -> str:
    if source.http_status in (401, 403):
        return "The address wants a login: ThingsBoard offers the CA file without one since 3.6."
    if problem.kind == "not-a-certificate" and "HTML" in problem.detail:
        return "A web page answers for every path there: it is not ThingsBoard's own address."
    if "not trusted" in problem.detail:
        return "A CA file is worth no more than the connection it came over, so it was not taken."
    if source.http_status:
        return "That address answers, but does not offer a CA file under this path."
    return "Nothing that can be reached and trusted answers at that address."


@rule("ca.download-not-configured", stage=STAGE, needs=CaEvidence, reference=CONNECTIVITY)
def download_not_configured(case: Case, evidence: CaEvidence) -> Iterable[Fault]:
    """ThingsBoard answers, but its administrator has set no CA file for download.

    The 404 “mqtts pem cert file is not found!” says nothing about TLS itself: the download is
    configured apart from the MQTT listener, with DEVICE_CONNECTIVITY_MQTTS_CA_ROOT_CERT.
    """
    asked = list(problems(evidence, "download-not-configured"))
    tried = [(s, p) for s, p in _attempts(evidence) if p.kind == "download-not-configured"]
    for source, problem in asked + tried:
        yield Fault(
            f"ThingsBoard at {source.location} offers no CA file: {problem.detail}.",
            "Its administrator has not set the file (or has disabled mqtts under Device"
            " connectivity); the MQTT listener itself is configured apart from it.",
            "Set DEVICE_CONNECTIVITY_MQTTS_CA_ROOT_CERT to the root's PEM file and restart"
            f" ThingsBoard; until then: {get_it_again(case)}",
            source.location,
            Severity.ERROR if (source, problem) in asked else _attempt_severity(case),
        )
