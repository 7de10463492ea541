"""Selectors: what they pick, and what is said about those that cannot be read."""

from __future__ import annotations

import pytest

from faultlab_embedded.store.errors import BadRequest
from faultlab_embedded.store.selectors import parse_fields, parse_labels

LABELS = {"app": "x", "tier": "front", "n": "3", "empty": "", "example.dev/role": "z"}


@pytest.mark.parametrize(
    ("selector", "picks"),
    [
        ("app=x", True),
        ("app==x,tier", True),
        ("app!=x", False),
        ("none!=x", True),
        ("app in (x, y), tier notin (back)", True),
        ("app in (y)", False),
        ("!none,app", True),
        ("!app", False),
        ("n>2,n<4", True),
        ("n>3", False),
        ("app>1", False),
        ("empty=", True),
        ("empty in ()", True),
        ("example.dev/role=z", True),
        (" app = x ", True),
    ],
)
def test_a_label_selector_picks(selector: str, picks: bool) -> None:
    matches = parse_labels(selector)
    assert matches is not None
    assert matches(LABELS) is picks


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a,", "found '', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("n>x", "for 'Gt', 'Lt' operators, the value must be an integer"),
        ("-a=x", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of'),
        ("a=-b", 'unable to parse requirement: values[0][a]: Invalid value: "-b": a valid label must'),
        ("a=" + "x" * 64, "must be no more than 63 characters"),
    ],
)
def test_a_label_selector_that_cannot_be_read_is_refused_in_kubernetes_words(
    selector: str, says: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_labels(selector)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("selector", "picks"),
    [
        ("metadata.name=a", True),
        ("metadata.name!=a", False),
        ("metadata.namespace=ns,status.phase==Running", True),
        ("spec.hostNetwork=false", True),
        ("spec.nodeName=", True),
        (r"metadata.name=a\,b", False),
    ],
)
def test_a_field_selector_picks(selector: str, picks: bool) -> None:
    matches = parse_fields(selector)
    assert matches is not None
    assert matches("ns", "a", lambda: {"status": {"phase": "Running"}, "spec": {}}) is picks


@pytest.mark.parametrize("selector", ["spec.foo", "metadata.name=a=b"])
def test_a_field_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(BadRequest, match=r"invalid selector: .* can't understand"):
        parse_fields(selector)
