"""Differences that any answer may show; no conversations."""

from parity.conversation import Conversation
from parity.declared import Match, declared

CONVERSATIONS: list[Conversation] = []
DECLARED = [
    declared(
        "no-managed-fields",
        "an object that nobody applied has no managedFields",
        Match(r"body\b.*\.metadata\.managedFields", embedded="<missing>"),
    ),
]
