# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as dictionaries, and files of them as the agent reads them."""

import itertools
import os
from pathlib import Path

import yaml

NAMESPACE = "test"
_numbers = itertools.count(1)


def namespace(name, labels=None, annotations=None):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}}}


def pod(pod, labels=None, accelerate="enabled", mesh="enabled", namespace=NAMESPACE, service_account="default",
        ports=(), annotations=None, ready=True):
    """The object of a harness Pod. ports: [(name, number)]; ready: its Ready condition."""
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": namespace, "labels": {"app": pod.name, **(labels or {})},
            "annotations": {"sockmesh.io/mesh": mesh, "sockmesh.io/accelerate": accelerate,
                            "sockmesh.io/netns": str(pod.path), **(annotations or {})}},
        "spec": {
            "nodeName": pod.node.id, "serviceAccountName": service_account,
            "containers": [{"name": "main", "ports": [
                {"name": name, "containerPort": number} for name, number in ports]}]},
        "status": {
            "podIP": pod.ipv4, "podIPs": [{"ip": pod.ipv4}, {"ip": pod.ipv6}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


def service(name, selector, ports, addresses, namespace=NAMESPACE, **spec):
    """ports: [(port, target)]; addresses: cluster addresses, none for a headless service."""
    addresses = list(addresses)
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": addresses[0] if addresses else "None", "clusterIPs": addresses or ["None"],
            "ipFamilies": ["IPv6" if ":" in address else "IPv4" for address in addresses] or ["IPv4"],
            **({"selector": selector} if selector is not None else {}),
            "ports": [{"name": f"p{port}", "port": port, "targetPort": target, "protocol": protocol}
                      for port, target, protocol in (_port(entry) for entry in ports)],
            **spec}}


def _port(entry):
    port, target, *protocol = entry
    return port, target, protocol[0] if protocol else "TCP"


def network_policy(name, selector, ingress=None, egress=None, namespace=NAMESPACE):
    """ingress, egress: lists of rules; None where the policy says nothing about the direction."""
    types = (["Ingress"] if ingress is not None else []) + (["Egress"] if egress is not None else [])
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector, "policyTypes": types,
                 **({"ingress": ingress} if ingress is not None else {}),
                 **({"egress": egress} if egress is not None else {})}}


def authorization_policy(name, selector, action, rules, namespace=NAMESPACE, annotations=None):
    return {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {**({"selector": {"matchLabels": selector}} if selector else {}), "action": action, "rules": rules}}


def peer_authentication(name, mode, selector=None, namespace=NAMESPACE, ports=None):
    return {
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**({"selector": {"matchLabels": selector}} if selector else {}), "mtls": {"mode": mode},
                 **({"portLevelMtls": {str(port): {"mode": own} for port, own in ports.items()}} if ports else {})}}


def app(name):
    """Selects the pods of one name."""
    return {"matchLabels": {"app": name}}


def text(*objects):
    return yaml.safe_dump_all(objects, sort_keys=False)


def write(path, *objects):
    """Makes or replaces a file of these objects; as `replace`."""
    return replace(path, text(*objects))


def replace(path, content):
    """Makes or replaces a file in one step, so that a watcher never reads half of it."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{next(_numbers)}.tmp")
    temporary.write_text(content)
    os.rename(temporary, path)
    return path
