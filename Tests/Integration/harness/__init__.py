# SPDX-License-Identifier: Apache-2.0
"""A node of network namespaces, pods on it, processes in the pods, and the real agent over them."""
