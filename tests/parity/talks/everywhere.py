"""Differences that answers of any kind may show; no conversations."""

from parity.conversation import Conversation
from parity.declared import Match, declared

CONVERSATIONS: list[Conversation] = []
DECLARED = [
    declared(
        "no-managed-fields",
        "an object that nobody applied has no managedFields",
        Match(r"body\b.*\.metadata\.managedFields", embedded="<missing>"),
    ),
    declared(
        "zero-values",
        "fields that nobody set and that Go writes as null or {} (`lastProbeTime`, `lastState`) are left out",
        Match(
            r"body\b.*\.status\..*\.(lastProbeTime|lastState|lastTransitionTime|startedAt)",
            "<missing>",
            r"null|\{\}",
        ),
    ),
    declared(
        "no-protobuf",
        "protobuf is not among the formats that a refusal lists",
        Match(
            r"body\.message",
            r".*application/yaml(, application/json;stream=watch)?\"",
            r".*application/vnd\.kubernetes\.protobuf.*",
        ),
    ),
    declared(
        "words-of-parsers",
        "what is wrong with JSON or YAML is said in the words of this server's parsers",
        Match(
            r"body\.message",
            r".*(yaml: |json: cannot unmarshal array).*",
            r".*(yaml: line \d+: |cannot unmarshal array).*",
        ),
        Match(
            r"body\.message",
            r".*unexpected end of JSON input\"",
            r".*unexpected end of JSON input \(\{\)\"",
            r"discovery/forms of answers: .*",
        ),
        Match(r"body\.message", r".*continue key is not valid: .*", r".*continue key is not valid: .*"),
    ),
]
