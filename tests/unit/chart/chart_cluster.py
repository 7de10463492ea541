"""Kubernetes' own API server, and Helm at work on it."""

import json
import os
import subprocess
from pathlib import Path

from chart_lab import CHART, NAMESPACE, Object, program
from real_api import RealApi


class Cluster:
    """An API server without controllers and nodes: objects are taken or refused, and nothing runs."""

    def __init__(self, api: RealApi, kubeconfig: Path) -> None:
        self.api = api
        self.kubeconfig = kubeconfig
        self._resources: dict[tuple[str, str], Object] = {}

    def helm(self, *arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        """Helm against this server, in the lab's namespace."""
        command = [program("helm"), *arguments, "--namespace", NAMESPACE]
        return self._run(command, json.dumps(values or {}))

    def kubectl(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """kubectl against this server."""
        return self._run([program("kubectl"), *arguments], given)

    def _run(self, command: list[str], given: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, env=environment
        )

    def install(self, values: Object | None = None, *arguments: str) -> str:
        """Installs or upgrades, and waits until the roles are in force; gives what Helm says."""
        command = ["upgrade", "--install", "faultlab", str(CHART), "--create-namespace", "--values", "-"]
        command.append("--reset-values")  # else an upgrade without values has those of the last one
        done = self.helm(*command, *arguments, values=values)
        assert done.returncode == 0, done.stderr
        if not arguments:
            served = (values or {}).get("operator", {}).get("watchNamespaces", [])
            self.api.until(lambda: self._roles_are_in_force(served))
        return done.stdout

    def _roles_are_in_force(self, served: list[str]) -> bool:
        """The server learns of roles and bindings a moment after they were written."""
        operator, agent = "faultlab-operator", "faultlab-agent"
        return (
            self.may(operator, "create", "pods", namespace="somebody-elses") is not bool(served)
            and all(self.may(operator, "create", "pods", namespace=name) for name in served)
            and self.may(operator, "list", "pods", namespace=NAMESPACE)
            and self.may(operator, "create", "secrets", namespace=NAMESPACE)
            and self.may(agent, "get", "namespaces", namespace=NAMESPACE, name=NAMESPACE)
        )

    def uninstall(self) -> None:
        done = self.helm("uninstall", "faultlab")
        assert done.returncode == 0, done.stderr

    def path(self, obj: Object) -> str:
        """Where objects of this one's kind in this one's namespace are."""
        version, kind = obj["apiVersion"], obj["kind"]
        if (version, kind) not in self._resources:
            prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
            status, found = self.api.request("GET", prefix)
            assert status == 200, f"{version}: {found}"
            for each in found["resources"]:
                if "/" not in each["name"]:
                    self._resources[version, each["kind"]] = {**each, "prefix": prefix}
        resource = self._resources[version, kind]
        namespace = f"/namespaces/{obj['metadata']['namespace']}" if resource["namespaced"] else ""
        return f"{resource['prefix']}{namespace}/{resource['name']}"

    def exists(self, obj: Object) -> bool:
        return self.api.request("GET", f"{self.path(obj)}/{obj['metadata']['name']}")[0] == 200

    def may(self, account: str, verb: str, resource: str, *, namespace: str = "", name: str = "") -> bool:
        """What the server's authorizer says; `resource` is RESOURCE[/SUBRESOURCE][.GROUP]."""
        plural, _, group = resource.partition(".")
        plural, _, subresource = plural.partition("/")
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{NAMESPACE}:{account}",
                "groups": ["system:authenticated", "system:serviceaccounts"],
                "resourceAttributes": {
                    "verb": verb,
                    "group": group,
                    "resource": plural,
                    "subresource": subresource,
                    "namespace": namespace,
                    "name": name,
                },
            },
        }
        status, answer = self.api.request(
            "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review
        )
        assert status == 201, answer
        return bool(answer["status"]["allowed"])

    def rights(self, account: str, namespace: str) -> set[str]:
        """All that the account may do there beyond what every account may, as the server lists it:
        `VERB RESOURCE.GROUP`, and the name behind it where the right ends at one."""
        return self._listed(account, namespace) - self._listed("somebody", namespace)

    def _listed(self, account: str, namespace: str) -> set[str]:
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        status, answer = self.api.request("POST", path, review, token=self.token(account))
        assert status == 201, answer
        assert not answer["status"]["incomplete"], answer
        return {
            " ".join(filter(None, (verb, f"{resource}.{group}".rstrip("."), name)))
            for rule in answer["status"]["resourceRules"]
            for verb in rule["verbs"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames") or [""]
        }

    def make_account(self, name: str) -> None:
        """An account of the lab's namespace that nobody gave anything."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        assert self.api.request("POST", path, account)[0] in (201, 409)

    def token(self, account: str) -> str:
        """A token of an account of the lab's namespace."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        status, answer = self.api.request("POST", path, request)
        assert status == 201, answer
        return str(answer["status"]["token"])
