"""`faultlab doctor`: what this machine can do, what each thing is for, and how to enable what is missing."""

from faultlab_cli.doctor.check import Check, Status
from faultlab_cli.doctor.report import checks, embedded_world_can_run, render, run_doctor

__all__ = ["Check", "Status", "checks", "embedded_world_can_run", "render", "run_doctor"]
