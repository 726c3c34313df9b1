// SPDX-License-Identifier: Apache-2.0

/// What a process takes from the other end of a link. Beyond it, the link is closed: a peer that was taken over, or has
/// a defect, costs no more than this.
public struct LinkLimits: Hashable, Sendable {
    /// Bytes of a packet. Below the default of net.core.wmem_max, so that both ends can always be given the room.
    public var packetBytes = 65536
    /// Descriptors of a packet; no message has more than one.
    public var packetDescriptors = 4
    /// Bytes that wait to be sent to a peer that does not read.
    public var queuedBytes = 64 << 20
    /// Packets that wait to be sent; each may hold a descriptor.
    public var queuedPackets = 65536
    /// Bytes of the records of one change; more goes in a snapshot.
    public var changeBytes = 16 << 20
    /// Bytes of a whole configuration.
    public var snapshotBytes = 512 << 20
    /// Records of a configuration.
    public var records = 1_000_000
    /// Bytes of identities that come at a time.
    public var identityBytes = 32 << 20
    /// Identities that a proxy holds.
    public var identities = 16_384
    /// Requests for sockets that are not answered yet.
    public var pendingRequests = 4096

    public init() {}
}
