"""report._chain: where the picture says that the chain is broken."""

from __future__ import annotations

import pytest

from tbdiag.report._chain import MAX_CARDS, chain_of
from tests.report.samples import INTERMEDIATE, LEAF, ROOT, STORIES, certificate, report


def broken(chain):
    return [(link.start.title, link.end.title) for link in chain.links if link.broken]


def faults(chain):
    return {c.title: c.faults for c in (*chain.sent, *chain.trusted) if c.faults}


def test_a_trusted_chain_has_no_fault():
    """End-entity to intermediate to the root in the CA file, nothing broken."""
    chain = chain_of(STORIES["healthy"]())
    linked = [(link.start.title, link.end.title) for link in chain.links]
    assert linked == [
        ("mqtt.example.org", "Example Intermediate"),
        ("Example Intermediate", "Example Root"),
    ]
    assert broken(chain) == []
    assert faults(chain) == {}
    assert chain.accepted


@pytest.mark.parametrize(
    ("story", "where", "why"),
    [
        ("missing-intermediate", ("mqtt.example.org", "Example Intermediate"), "neither sent"),
        ("wrong-ca", ("Example Intermediate", "Example Root"), "neither sent"),
        ("other-key", ("Example Intermediate", "Example Root"), "same name, other key"),
    ],
)
def test_the_broken_link_is_at_the_right_place(story, where, why):
    """The link is broken above the last certificate whose issuer is missing, with the reason."""
    chain = chain_of(STORIES[story]())
    assert broken(chain) == [where]
    assert why in faults(chain)[where[1]][0]


@pytest.mark.parametrize(
    ("story", "why"),
    [("expired", "expired on 2027-01-10"), ("wrong-name", "does not name mqtt.example.org")],
)
def test_a_fault_of_a_certificate_is_on_its_card(story, why):
    """A complete chain with a bad certificate has whole links and one red card."""
    chain = chain_of(STORIES[story]())
    assert broken(chain) == []
    assert faults(chain) == {"mqtt.example.org": [why]}


def test_a_self_signed_server_is_broken_at_itself():
    """A self-signed certificate that the CA file does not hold has nobody to vouch for it."""
    lone = certificate("device.local")
    chain = chain_of(report((lone,), failed="tls.verify"))
    assert broken(chain) == [("device.local", "Not in the CA file")]


def test_bystanders_are_not_on_the_path():
    """What the CA file holds beside the anchor is drawn, but is no part of the path."""
    junk = certificate("Junk", ca=True)
    chain = chain_of(report(anchors=(junk, ROOT)))
    assert [(c.title, c.on_path) for c in chain.trusted] == [
        ("Example Root", True),
        ("Junk", False),
    ]


def test_a_certificate_of_both_sides_is_linked_as_the_same():
    """A CA file that holds the intermediate trusts it there."""
    chain = chain_of(report(anchors=(INTERMEDIATE,), path=(LEAF, INTERMEDIATE)))
    assert [link.text for link in chain.links] == ["issued by", "the same certificate"]
    assert [c.title for c in chain.trusted] == ["Example Intermediate"]


@pytest.mark.parametrize(
    ("anchor", "why"),
    [(INTERMEDIATE, "an intermediate"), (LEAF, "an end-entity certificate, not a CA")],
)
def test_a_ca_file_without_a_root_is_marked_there(anchor, why):
    """A path that ends in the CA file at something that is no root has its fault on that card."""
    chain = chain_of(report(anchors=(anchor,), failed="tls.verify"))
    assert broken(chain) == []
    assert chain.trusted[0].faults[0].startswith(why)
    assert [card.faults for card in chain.sent] == [[], []]


def test_no_certificate_was_sent():
    """A plain port beside a CA file shows an empty place with the cause."""
    chain = chain_of(STORIES["plaintext"]())
    assert faults(chain) == {"No certificate received": ["tls.plaintext-port"]}


def test_nothing_to_draw():
    """A plain target has no chain."""
    assert chain_of(STORIES["plain"]()) is None


def test_a_long_chain_is_counted():
    """Beyond a few cards a side the rest is counted, not drawn."""
    many = tuple(certificate(f"extra {n}", ca=True) for n in range(50))
    chain = chain_of(report((LEAF, INTERMEDIATE, *many), anchors=(ROOT, *many)))
    assert len(chain.sent) == len(chain.trusted) == MAX_CARDS
    assert chain.sent_left_out == 46
    assert chain.trusted_left_out == 45
