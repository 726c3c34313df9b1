# SPDX-License-Identifier: Apache-2.0
"""A Service of TCP and UDP, and the EndpointSlices that list its endpoints, as dictionaries."""

from .manifests import service
from .services import PORT, TARGET, V4, V6

UDP_PORT, UDP_TARGET = 53, 5380


def web(selector=None, **spec):
    """Without a selector its endpoints are those of a slice."""
    return service("web", selector, [(PORT, TARGET), (UDP_PORT, UDP_TARGET, "UDP")], [V4, V6], **spec)


def slice_of(name, family, addresses, **conditions):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{family}",
            "metadata": {"name": name, "namespace": "test", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": f"p{PORT}", "port": TARGET, "protocol": "TCP"},
                      {"name": f"p{UDP_PORT}", "port": UDP_TARGET, "protocol": "UDP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True, **conditions}}
                          for address in addresses]}


def listed(node, pod, **conditions):
    """The slices that list one pod, one for each family."""
    return [slice_of(f"{pod}-{family}", family, [node.pod(pod).address(family)], **conditions) for family in (4, 6)]


def virtual(family):
    return V4 if family == 4 else V6
