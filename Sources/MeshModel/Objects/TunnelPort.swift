// SPDX-License-Identifier: Apache-2.0

/// The port of a pod at which its node takes tunnels (HBONE): https://istio.io/latest/docs/ambient/architecture/hbone/
public let tunnelPort: UInt16 = 15008
