"""report.as_prometheus: names and meanings that dashboards rely on."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tbdiag.report import render
from tbdiag.report.as_prometheus import HELP, _fnv1a, metrics
from tests.report.consumers import UNSAFE, read_prometheus
from tests.report.samples import LEAF, NOW, STORIES, certificate, rebuilt, report


def samples(story, **labels):
    made = story() if callable(story) else story
    return read_prometheus(render(made, "prometheus"))


def value(found, name, **labels):
    (sample,) = [s for s in found[name] if labels.items() <= s.labels.items()]
    return sample.value


@pytest.mark.parametrize("story", STORIES)
def test_promtool_accepts_it(story):
    """`promtool check metrics` has nothing to object to, hostile text included."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: prometheus)")
    text = render(STORIES[story](), "prometheus").encode()
    ran = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (ran.returncode, ran.stderr.decode()) == (0, "")


def test_blackbox_metrics_mean_what_they_mean_there():
    """probe_* hold success, times, the address, the earliest end sent and the path's end."""
    found = samples(STORIES["healthy"])
    assert value(found, "probe_success") == 1
    assert value(found, "probe_duration_seconds") == 0.321
    assert value(found, "probe_dns_lookup_time_seconds") == 0.0115
    assert value(found, "probe_ip_protocol") == 4
    assert value(found, "probe_ip_addr_hash") == 1936431214
    assert value(found, "probe_ssl_earliest_cert_expiry") == LEAF.not_after.timestamp()
    until = value(found, "probe_ssl_last_chain_expiry_timestamp_seconds")
    assert until == LEAF.not_after.timestamp()
    assert value(found, "probe_tls_version_info", version="TLS 1.3") == 1
    info = found["probe_ssl_last_chain_info"][0].labels
    assert info["fingerprint_sha256"] == LEAF.fingerprint_sha256
    assert info["subjectalternative"] == "mqtt.example.org"


def test_addresses_are_hashed_as_blackbox_exporter_does():
    """The hash is FNV-1a of 32 bits, by its published test vectors."""
    assert _fnv1a(b"") == 0x811C9DC5
    assert _fnv1a(b"foobar") == 0xBF9CF968


def test_certificate_metrics_survive_a_failed_verification():
    """Without trust the certificates sent and those of the file are still there to alert on."""
    found = samples(STORIES["wrong-ca"])
    assert value(found, "probe_success") == 0
    assert value(found, "ssl_cert_not_after", cn="mqtt.example.org") == LEAF.not_after.timestamp()
    assert value(found, "ssl_file_cert_not_after", cn="Unrelated Root", file="ca.pem") > 0
    assert "probe_ssl_last_chain_expiry_timestamp_seconds" not in found
    assert "ssl_verified_cert_not_after" not in found


def test_labels_are_those_of_ssl_exporter():
    """serial_no is decimal; names and units stand between commas."""
    labels = samples(STORIES["healthy"])["ssl_cert_not_after"][0].labels
    assert labels["serial_no"] == str(int(LEAF.serial_number, 16))
    assert labels["dnsnames"] == ",mqtt.example.org,"
    assert labels["ips"] == ",192.0.2.1,"
    assert labels["ou"] == ",Devices,"
    assert labels["issuer_cn"] == "Example Intermediate"


def test_a_stage_has_one_series_with_a_cheap_reason():
    """tbdiag_check_status says how each stage ended; its reason is a rule or a stage id."""
    found = samples(STORIES["missing-intermediate"])
    status = {
        s.labels["check"]: (s.value, s.labels["reason"]) for s in found["tbdiag_check_status"]
    }
    assert status["tls.handshake"] == (0, "")
    assert status["tls.verify"] == (2, "x509.missing-intermediate")
    assert status["mqtt.connect"] == (3, "tls.verify")
    assert "http.token" not in status


def test_equal_labels_give_one_series_with_the_earliest_end():
    """Two certificates that no label tells apart are one series: the one that ends first."""
    late, early = certificate("twin", end=90), certificate("twin", end=10)
    early = type(early)(**{**fields(early), "serial_number": late.serial_number})
    found = samples(report((LEAF, late, early), path=(LEAF,)))
    assert value(found, "ssl_cert_not_after", cn="twin") == early.not_after.timestamp()


def fields(made):
    return {name: getattr(made, name) for name in type(made).__struct_fields__}


def test_many_reports_are_one_exposition():
    """A fleet's reports share families; each series is told apart by its target."""
    reports = [
        STORIES["healthy"](),
        rebuilt(STORIES["expired"](), target=STORIES["plain"]().target),
    ]
    found = read_prometheus(metrics(reports))
    targets = {s.labels["target"]: s.value for s in found["probe_success"]}
    assert targets == {"mqtt.example.org:8883": 1, "mqtt.example.org:1883": 0}
    assert read_prometheus(metrics([*reports, *reports])) == found


def test_a_probe_needs_no_target_label():
    """The answer to one /probe leaves the naming to the scraper."""
    assert "target=" not in metrics([STORIES["healthy"]()], labelled=False)


def test_metrics_clean_what_they_are_given():
    """The fleet and the exporter call `metrics` directly: it is as safe as the format."""
    shown = metrics([STORIES["hostile"]()])
    assert not UNSAFE.search(shown)
    read_prometheus(shown)


def test_every_metric_has_a_help_text_of_its_own():
    """Names follow the conventions: lower case, base units, no two families alike."""
    assert all(re.fullmatch(r"(probe|ssl|tbdiag)_[a-z0-9_]+", name) for name in HELP)
    assert all(HELP.values())


def test_the_time_of_the_run_is_there_to_find_stale_files():
    """A textfile that nobody renews is seen by the time of its run."""
    assert value(samples(STORIES["plain"]), "tbdiag_last_run_timestamp_seconds") == NOW.timestamp()
