"""Rules of CEL: the project's own CRDs with specs to refuse, and small ones for each kind of rule."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from parity.conversation import Step, apply, delete, get, merge_patch, post, put, talk
from parity.declared import Match, declared
from parity.samples import crd, custom

from faultlab_operator.api.generate import load_crds

SPECS = Path(__file__).parents[2] / "unit" / "operator_api"
OURS = "rules.parity.example.dev"


def _renamed(own: dict[str, Any]) -> dict[str, Any]:
    """A CRD of the project in a group of the tests' own, which no operator serves."""
    crd = copy.deepcopy(own)
    crd["spec"]["group"] = OURS
    crd["metadata"] = {"name": f"{crd['spec']['names']['plural']}.{OURS}"}
    return crd


OUR_CRDS = [_renamed(own) for own in load_crds()]
PLURALS = {crd["spec"]["names"]["kind"]: crd["spec"]["names"]["plural"] for crd in OUR_CRDS}
VERSIONS = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["name"] for crd in OUR_CRDS}


def _tried(resource: dict[str, Any]) -> Step:
    kind = resource["kind"]
    body = {"apiVersion": f"{OURS}/{VERSIONS[kind]}", **resource}
    return post(f"{PLURALS[kind]}?dryRun=All", body)


def _specs(file: str) -> list[Step]:
    return [_tried(case["resource"]) for case in yaml.safe_load((SPECS / file).read_text())]


def _cluster(**spec: Any) -> dict[str, Any]:
    version = VERSIONS["RaftCluster"]
    return {"apiVersion": f"{OURS}/{version}", "kind": "RaftCluster", "metadata": {"name": "a"}, "spec": spec}


BAD = talk("CEL", "bad specs of the project", *_specs("bad_specs.yaml"))
GOOD = talk("CEL", "good specs of the project", *_specs("good_specs.yaml"))
CHANGES = talk(
    "CEL",
    "changes of the project's objects",
    post("raftclusters", _cluster(replicas=3)),
    merge_patch("raftclusters/a", {"spec": {"replicas": 5}}),
    merge_patch("raftclusters/a", {"spec": {"replicas": 4}}),
    merge_patch("raftclusters/a", {"spec": {"electionTimeout": "1s"}}),
    merge_patch("raftclusters/a", {"spec": {"electionTimeout": "1s", "heartbeatInterval": "1s"}}),
    apply("raftclusters/a", _cluster(replicas=5, storage={"size": "1Gi"}), force=True),
    merge_patch("raftclusters/a", {"metadata": {"labels": {"a": "b"}}}),
    merge_patch("raftclusters/a/status", {"status": {"term": "three"}}),
    merge_patch("raftclusters/a/status", {"status": {"term": 3, "leader": "a-0"}}),
    get("raftclusters/a"),
    delete("raftclusters/a"),
)


def _rule(rule: str, **more: Any) -> dict[str, Any]:
    return {"rule": rule, **more}


RULED = crd(
    "ruleds",
    "Ruled",
    {
        "type": "object",
        "x-kubernetes-validations": [
            _rule("self.size % 2 == 1", message="size must be odd"),
            _rule("!has(self.low) || !has(self.high) || self.low <= self.high"),
            _rule(
                "!has(self.low) || self.low >= 0",
                messageExpression="'low is ' + (self.low < -10 ? 'far too low' : 'negative')",
                fieldPath=".low",
            ),
            _rule(
                "!has(self.secret)", reason="FieldValueForbidden", message="tell nobody", fieldPath=".secret"
            ),
            _rule("self.size < 100 || has(self.reason)", reason="FieldValueRequired", message="say why"),
            _rule(
                "!has(self.twin) || self.twin != self.size", reason="FieldValueDuplicate", fieldPath=".twin"
            ),
            _rule("has(self.fixed) == has(oldSelf.fixed)", message="fixed cannot come or go"),
        ],
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "maximum": 1000},
            "low": {"type": "integer"},
            "high": {"type": "integer"},
            "secret": {"type": "string", "maxLength": 20},
            "reason": {"type": "string", "maxLength": 20},
            "twin": {"type": "integer"},
            "fixed": {
                "type": "string",
                "maxLength": 20,
                "x-kubernetes-validations": [_rule("self == oldSelf", message="fixed is immutable")],
            },
            "name": {
                "type": "string",
                "maxLength": 30,
                "x-kubernetes-validations": [
                    _rule("self.matches('^[a-z]+$')", message="only small letters"),
                    _rule("self.startsWith('a') && self.endsWith('z')"),
                    _rule("self.size() > 2 ? true : false", messageExpression="self + ' is short'"),
                ],
            },
            "ports": {
                "type": "array",
                "maxItems": 5,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-validations": [
                    _rule("self.all(p, p.number > 0)", message="ports are positive"),
                    _rule("self.exists_one(p, p.name == 'main')", message="one port is main"),
                ],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 10},
                        "number": {
                            "type": "integer",
                            "default": 1,
                            "x-kubernetes-validations": [_rule("self >= oldSelf", message="never less")],
                        },
                    },
                },
            },
            "parts": {
                "type": "object",
                "maxProperties": 5,
                "additionalProperties": {
                    "type": "object",
                    "x-kubernetes-validations": [_rule("self.a != self.b", message="a and b differ")],
                    "properties": {
                        "a": {"type": "integer", "default": 1},
                        "b": {"type": "integer", "default": 2},
                    },
                },
            },
            "texts": {
                "type": "object",
                "maxProperties": 5,
                "additionalProperties": {"type": "string", "maxLength": 10},
                "x-kubernetes-validations": [
                    _rule("self.all(k, k.size() < 5)", message="short keys"),
                    _rule("!('bad' in self) || self['bad'] == 'ok'"),
                ],
            },
            "after": {
                "type": "string",
                "format": "duration",
                "x-kubernetes-validations": [_rule("self <= duration('1m')", message="at most a minute")],
            },
            "until": {
                "type": "string",
                "format": "date-time",
                "x-kubernetes-validations": [_rule("self > timestamp('2000-01-01T00:00:00Z')")],
            },
            "either": {
                "x-kubernetes-int-or-string": True,
                "x-kubernetes-validations": [_rule("type(self) == int ? self < 5 : self == 'all'")],
            },
            "index": {
                "type": "array",
                "maxItems": 3,
                "items": {"type": "integer"},
                "x-kubernetes-validations": [_rule("self[1] > 0", message="never reached without a second")],
            },
            "optional": {
                "type": "string",
                "maxLength": 10,
                "x-kubernetes-validations": [
                    {
                        "rule": "oldSelf.hasValue() || self == 'first'",
                        "message": "begin with first",
                        "optionalOldSelf": True,
                    }
                ],
            },
            "in": {"type": "string", "maxLength": 5},
        },
    },
    status={"type": "object", "properties": {"phase": {"type": "string"}}},
)


def _ruled(**spec: Any) -> dict[str, Any]:
    return custom("Ruled", "tried", {"size": 3, **spec})


def _refused(**spec: Any) -> Step:
    return post("ruleds?dryRun=All", _ruled(**spec))


RULES = talk(
    "CEL",
    "rules one at a time",
    _refused(),
    _refused(size=2),
    _refused(low=5, high=4),
    _refused(low=4, high=5),
    _refused(low=-1),
    _refused(secret="s"),
    _refused(size=101),
    _refused(size=101, reason="because"),
    _refused(twin=3),
    _refused(fixed="f"),
    _refused(name="Abz"),
    _refused(name="az"),
    _refused(name="bcd"),
    _refused(name="a to z"),
    _refused(ports=[{"name": "main"}]),
    _refused(ports=[{"name": "main", "number": -1}]),
    _refused(ports=[{"name": "other"}]),
    _refused(ports=[]),
    _refused(ports=[{"name": "main"}, {"name": "main"}]),
    _refused(parts={"x": {}, "y": {"a": 2}}),
    _refused(texts={"longer": "t"}),
    _refused(texts={"bad": "not ok"}),
    _refused(after="2m"),
    _refused(after="30s"),
    _refused(until="1999-12-31T23:59:59Z"),
    _refused(until="2026-01-01T00:00:00Z"),
    _refused(either=7),
    _refused(either="some"),
    _refused(either="all"),
    _refused(index=[1]),
    _refused(index=[1, 2]),
    _refused(optional="second"),
    _refused(optional="first"),
    _refused(size=2, low=-1, name="Q"),
    _refused(size="three"),
    post("ruleds?dryRun=All", custom("Ruled", "without", {})),
    post("ruleds?dryRun=All", custom("Ruled", "without")),
)
TRANSITIONS = talk(
    "CEL",
    "transition rules",
    post("ruleds", custom("Ruled", "a", {"size": 3, "fixed": "x", "ports": [{"name": "main", "number": 5}]})),
    merge_patch("ruleds/a", {"spec": {"fixed": "y"}}),
    merge_patch("ruleds/a", {"spec": {"fixed": None}}),
    merge_patch("ruleds/a", {"spec": {"size": 5}}),
    merge_patch("ruleds/a", {"spec": {"ports": [{"name": "main", "number": 4}]}}),
    merge_patch(
        "ruleds/a", {"spec": {"ports": [{"name": "new", "number": 1}, {"name": "main", "number": 6}]}}
    ),
    merge_patch("ruleds/a", {"spec": {"optional": "second"}}),
    merge_patch("ruleds/a", {"spec": {"optional": "first"}}),
    merge_patch("ruleds/a", {"spec": {"optional": "second"}}),
    merge_patch("ruleds/a/status", {"status": {"phase": "Fine"}}),
    put("ruleds/a", custom("Ruled", "a", {"size": 7})),
    get("ruleds/a"),
)
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _new(schema: dict[str, Any], **more: Any) -> Step:
    spec = {"type": "object", "properties": {"q": schema}}
    return post(f"{CRDS_PATH}?dryRun=All", crd("news", "New", spec, **more))


BROKEN = talk(
    "CEL",
    "rules that no server takes",
    _new({"type": "object", "x-kubernetes-validations": [_rule("self.missing > 3")]}),
    _new({"type": "integer", "x-kubernetes-validations": [_rule("")]}),
    _new({"type": "integer", "x-kubernetes-validations": [_rule("self > 0", message="a\nb")]}),
    _new({"type": "integer", "x-kubernetes-validations": [_rule("self > 0", reason="Because")]}),
    _new({"type": "object", "properties": {"a": {}}}),
    _new({"type": "array"}),
    _new({"type": "string", "pattern": "("}),
    _new({"type": "thing"}),
    _new(
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "additionalProperties": {"type": "string"},
        }
    ),
    _new({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
    _new({"type": "string", "default": 3}),
    _new({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}, "default": {}}),
    _new({"type": "string"}, additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": ".spec.q"}]),
)
UNTYPED = talk(
    "CEL",
    "rules of the wrong type",
    _new({"type": "integer", "x-kubernetes-validations": [_rule("self + 'a' == 'b'")]}),
    _new({"type": "integer", "x-kubernetes-validations": [_rule("self + 1")]}),
    _new({"type": "integer", "x-kubernetes-validations": [_rule("self > 0", messageExpression="self")]}),
)
UNREADABLE = talk(
    "CEL",
    "rules that cannot be read",
    _new({"type": "string", "x-kubernetes-validations": [_rule("self.a ===")]}),
)
CRDS = [*OUR_CRDS, RULED]
CONVERSATIONS = [BAD, GOOD, CHANGES, RULES, TRANSITIONS, BROKEN, UNTYPED, UNREADABLE]
DECLARED = [
    declared(
        "cel-types",
        "CEL rules are not type-checked when their CRD is made, but for syntax and unknown fields of `self`; "
        "a rule that compares what cannot be compared refuses the objects that it is asked about",
        Match(".*", steps="CEL/rules of the wrong type: .*"),
    ),
    declared(
        "cel-syntax",
        "the parser of CEL is another one: a rule that it cannot read is refused at the same place in other "
        "words",
        Match(r"body\.(message|details\.causes\[0\]\.message)", steps="CEL/rules that cannot be read: .*"),
    ),
]
