"""The page."""

from faultlab.contract.run import VerdictDocument
from faultlab_operator.scenario.verdict import Run


def render_report(run: Run, verdict: VerdictDocument) -> str:
    return f"<h1>{verdict.verdict}</h1>{len(run.operations)}"
