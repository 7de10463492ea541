"""Talking to the API server: reading, applying, statuses, Events."""

from faultlab_operator.kube.client import KubeClient
from faultlab_operator.kube.conditions import set_condition
from faultlab_operator.kube.resources import RESOURCES, ResourceInfo

__all__ = ["RESOURCES", "KubeClient", "ResourceInfo", "set_condition"]
