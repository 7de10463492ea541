"""Which world a session runs in, and which tests belong to it."""

import signal

import pytest


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would every program that a test wants to interrupt."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faultlab")
    group.addoption(
        "--world",
        choices=("embedded", "kind"),
        default="embedded",
        help="where the end-to-end tests run (kind: the cluster of `make kind-up`)",
    )
    group.addoption(
        "--kube-context", default="kind-faultlab", help="the kubeconfig context of that cluster (%(default)s)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked for one world are not part of a session in the other."""
    foreign = "kind" if config.getoption("--world") == "embedded" else "embedded"
    deselected = [item for item in items if item.get_closest_marker(foreign)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not item.get_closest_marker(foreign)]
