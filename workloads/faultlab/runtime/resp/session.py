"""What a connection knows of its client, and the commands that no state machine sees."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .acl import DEFAULT_USER, WRONG_PASS, Permissions
from .encoder import Result, error_line
from .handler import CommandSpec, Kind

if TYPE_CHECKING:
    from .connection import RespConnection
    from .server import RespServer

_MAX_NAME_BYTES = 256
MAX_FAILED_LOGINS = 8
"""On one connection, which is then closed."""


class Session:
    """One client's settings on one connection."""

    def __init__(self) -> None:
        self.id = 0
        self.peer = ""
        self.quitting = False
        self.failed_logins = 0
        self.reset()

    def reset(self) -> None:
        """As a new connection begins."""
        self.resp3 = False
        self.meta = False
        """Each reply comes with the member and the term that answered (`CLIENT META ON`)."""
        self.name = b""
        self.library = b""
        self.library_version = b""
        self.user: Permissions | None = None
        """Who has logged in, where a login is needed."""

    def describe(self) -> str:
        """One line, as `CLIENT INFO` gives it."""
        return (
            f"id={self.id} addr={self.peer} name={self.name.decode('utf-8', 'replace')} db=0"
            f" user={self.user.name if self.user is not None else DEFAULT_USER}"
            f" resp={3 if self.resp3 else 2} meta={'on' if self.meta else 'off'}"
            f" lib-name={self.library.decode('utf-8', 'replace')}"
            f" lib-ver={self.library_version.decode('utf-8', 'replace')}"
        )


def run_local(
    connection: "RespConnection", server: "RespServer", spec: CommandSpec, args: list[bytes]
) -> Result:
    """Answers one of LOCAL_COMMANDS, whose arity was checked."""
    return _RUN[spec.name](connection.session, server, args)


def _ping(_session: Session, _server: "RespServer", args: list[bytes]) -> Result:
    if len(args) > 2:
        return error_line("ERR wrong number of arguments for 'ping' command")
    return args[1] if len(args) == 2 else "+PONG"


def _echo(_session: Session, _server: "RespServer", args: list[bytes]) -> Result:
    return args[1]


def _quit(session: Session, _server: "RespServer", _args: list[bytes]) -> Result:
    session.quitting = True
    return "+OK"


def _reset(session: Session, _server: "RespServer", _args: list[bytes]) -> Result:
    session.reset()
    return "+RESET"


def _select(_session: Session, _server: "RespServer", args: list[bytes]) -> Result:
    return "+OK" if args[1] == b"0" else error_line("ERR DB index is out of range: there is only database 0")


def _log_in(session: Session, server: "RespServer", name: bytes, password: bytes) -> Result:
    """None where it worked."""
    if server.access is None:
        if name == DEFAULT_USER.encode():
            return None
    elif (user := server.access.login(name, password)) is not None:
        session.user = user
        return None
    session.failed_logins += 1
    session.quitting = session.failed_logins >= MAX_FAILED_LOGINS
    return WRONG_PASS


def _auth(session: Session, server: "RespServer", args: list[bytes]) -> Result:
    if len(args) > 3:
        return error_line("ERR syntax error")
    if len(args) == 2 and server.access is None:
        return error_line(
            "ERR AUTH <password> called without any password configured for the default user."
            " Are you sure your configuration is correct?"
        )
    name = args[1] if len(args) == 3 else DEFAULT_USER.encode()
    problem = _log_in(session, server, name, args[-1])
    return "+OK" if problem is None else problem


def _acl(session: Session, _server: "RespServer", args: list[bytes]) -> Result:
    if args[1].upper() == b"WHOAMI" and len(args) == 2:
        return (session.user.name if session.user is not None else DEFAULT_USER).encode()
    return error_line("ERR ACL knows WHOAMI; users and their rules are in the member's file")


def _hello(session: Session, server: "RespServer", args: list[bytes]) -> Result:
    resp3, name = session.resp3, session.name
    login: tuple[bytes, bytes] | None = None
    if len(args) > 1:
        if args[1] not in (b"2", b"3"):
            return error_line("NOPROTO unsupported protocol version; this member speaks 2 and 3")
        resp3 = args[1] == b"3"
        at = 2
        while at < len(args):
            option = args[at].upper()
            if option == b"AUTH" and at + 2 < len(args):
                login = args[at + 1], args[at + 2]
                at += 3
            elif option == b"SETNAME" and at + 1 < len(args):
                name = args[at + 1]
                at += 2
            else:
                shown = option[:32].decode("utf-8", "replace")
                return error_line(
                    f"ERR Syntax error in HELLO option '{shown}';"
                    " AUTH USER PASSWORD and SETNAME NAME are known"
                )
    if (problem := _name_problem(name)) is not None:
        return problem
    if login is not None:
        wrong = _log_in(session, server, *login)
        if wrong is not None:
            return wrong
    elif server.access is not None and session.user is None:
        return _HELLO_NO_AUTH
    session.resp3, session.name = resp3, name
    return {
        "server": server.software.encode(),
        "version": server.version.encode(),
        "proto": 3 if resp3 else 2,
        "id": session.id,
        "mode": b"standalone",
        "role": b"master",
        "modules": [],
    }


_HELLO_NO_AUTH = error_line(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto>"
    " AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version"
    " at the same time"
)


def _name_problem(name: bytes) -> str | None:
    if len(name) > _MAX_NAME_BYTES or any(byte < 33 or byte > 126 for byte in name):
        return error_line(
            f"ERR names are at most {_MAX_NAME_BYTES} printable ASCII characters without spaces"
        )
    return None


def _client(session: Session, _server: "RespServer", args: list[bytes]) -> Result:
    subcommand = args[1].upper()
    run = _CLIENT.get((subcommand, len(args)))
    if run is not None:
        return run(session, args)
    known = sorted({name.decode() for name, _ in _CLIENT})
    shown = subcommand[:32].decode("utf-8", "replace")
    return error_line(
        f"ERR unknown subcommand or wrong number of arguments for 'CLIENT {shown}';"
        f" known here: {', '.join(known)}"
    )


def _client_setname(session: Session, args: list[bytes]) -> Result:
    if (problem := _name_problem(args[2])) is not None:
        return problem
    session.name = args[2]
    return "+OK"


def _client_setinfo(session: Session, args: list[bytes]) -> Result:
    if (problem := _name_problem(args[3])) is not None:
        return problem
    attribute = args[2].upper()
    if attribute == b"LIB-NAME":
        session.library = args[3]
    elif attribute == b"LIB-VER":
        session.library_version = args[3]
    else:
        return error_line("ERR CLIENT SETINFO knows LIB-NAME and LIB-VER")
    return "+OK"


def _client_meta(session: Session, args: list[bytes]) -> Result:
    switch = args[2].upper()
    if switch not in (b"ON", b"OFF"):
        return error_line("ERR CLIENT META is ON or OFF")
    session.meta = switch == b"ON"
    return "+OK"


def _client_hint(_session: Session, args: list[bytes]) -> Result:
    """NO-EVICT and NO-TOUCH: nothing is ever evicted here, so there is nothing to switch."""
    if args[2].upper() not in (b"ON", b"OFF"):
        return error_line("ERR syntax error: ON or OFF is expected")
    return "+OK"


_CLIENT: dict[tuple[bytes, int], Callable[[Session, list[bytes]], Result]] = {
    (b"ID", 2): lambda session, _args: session.id,
    (b"GETNAME", 2): lambda session, _args: session.name or None,
    (b"INFO", 2): lambda session, _args: session.describe().encode(),
    (b"SETNAME", 3): _client_setname,
    (b"META", 3): _client_meta,
    (b"NO-EVICT", 3): _client_hint,
    (b"NO-TOUCH", 3): _client_hint,
    (b"SETINFO", 4): _client_setinfo,
}


def _command(_session: Session, server: "RespServer", args: list[bytes]) -> Result:
    commands = {**LOCAL_COMMANDS, **server.handler.commands}
    if len(args) == 1:
        return [_entry(spec) for spec in commands.values()]
    subcommand = args[1].upper()
    names = [arg.decode("latin-1").upper() for arg in args[2:]]
    if subcommand == b"COUNT" and not names:
        return len(commands)
    if subcommand == b"LIST" and not names:
        return [name.lower().encode() for name in commands]
    if subcommand == b"INFO":
        return [_entry(commands[name]) if name in commands else None for name in names or commands]
    if subcommand == b"DOCS":
        return {
            name.lower(): {
                "summary": commands[name].summary.encode(),
                "since": b"0.1.0",
                "group": b"faultlab",
            }
            for name in names or commands
            if name in commands
        }
    return error_line("ERR COMMAND knows COUNT, LIST, INFO [NAME ...] and DOCS [NAME ...]")


def _entry(spec: CommandSpec) -> Result:
    """One command as Redis 7 describes it."""
    flags: list[Result] = [f"+{flag}" for flag in spec.flags]
    categories: list[Result] = [f"+@{flag}" for flag in spec.flags]
    return [
        spec.name.lower().encode(),
        spec.arity,
        flags,
        spec.first_key,
        spec.last_key,
        spec.step,
        categories,
        [],  # tips
        [],  # key specifications
        [],  # subcommands
    ]


def _info(_session: Session, server: "RespServer", args: list[bytes]) -> Result:
    wanted = {arg.decode("latin-1").lower() for arg in args[1:]} - {"all", "default", "everything"}
    sections = {**server.info(), **server.handler.info()}
    lines: list[str] = []
    for title, fields in sections.items():
        if not wanted or title.lower() in wanted:
            lines += [f"# {title}", *(f"{key}:{value}" for key, value in fields.items()), ""]
    return "\r\n".join(lines).encode()


def _local(name: str, arity: int, summary: str) -> CommandSpec:
    return CommandSpec(name, arity, Kind.LOCAL, summary, ("fast",))


LOCAL_COMMANDS: dict[str, CommandSpec] = {
    spec.name: spec
    for spec in (
        _local("PING", -1, "Answers PONG, or its argument."),
        _local("ECHO", 2, "Answers its argument."),
        _local("HELLO", -1, "Chooses RESP2 or RESP3, logs in with AUTH, and describes the server."),
        _local("AUTH", -2, "Logs in: [USER] PASSWORD."),
        _local("ACL", -2, "WHOAMI: who has logged in."),
        _local("CLIENT", -2, "This connection: its id, name, library, and META ON|OFF (who answered)."),
        _local("COMMAND", -1, "The commands that this member knows."),
        _local("INFO", -1, "Text about the server, its role and its keys."),
        _local("SELECT", 2, "There is only database 0."),
        _local("QUIT", -1, "Closes the connection."),
        _local("RESET", 1, "Forgets the connection's settings."),
    )
}

_RUN: dict[str, Callable[[Session, "RespServer", list[bytes]], Result]] = {
    "PING": _ping,
    "ECHO": _echo,
    "HELLO": _hello,
    "AUTH": _auth,
    "ACL": _acl,
    "CLIENT": _client,
    "COMMAND": _command,
    "INFO": _info,
    "SELECT": _select,
    "QUIT": _quit,
    "RESET": _reset,
}
