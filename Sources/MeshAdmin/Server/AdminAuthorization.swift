// SPDX-License-Identifier: Apache-2.0

import LinuxIO

/// A group that the operator gave rights to.
public struct AdminGroup: Hashable, Sendable {
    public var name: String
    public var number: UInt32

    public init(name: String, number: UInt32) {
        self.name = name
        self.number = number
    }
}

/// Who may use the admin socket.
///
/// Members of the write group also need to reach the socket, whose file belongs to the admin group: where both
/// groups are named, put writers into both.
public struct AdminAuthorization: Hashable, Sendable {
    /// May read. `nil`: root only.
    public var adminGroup: AdminGroup?
    /// May read and change. `nil`: root only.
    public var writeGroup: AdminGroup?

    public init(adminGroup: AdminGroup? = nil, writeGroup: AdminGroup? = nil) {
        self.adminGroup = adminGroup
        self.writeGroup = writeGroup
    }

    /// Whose the socket file is: the group that most members reach it by.
    public var socketGroup: AdminGroup? { adminGroup ?? writeGroup }

    /// Whether a peer may do what needs `access`.
    func allows(_ access: AdminAccess, _ peer: PeerCredentials) -> Bool {
        if peer.user == 0 { return true }
        let groups: [AdminGroup?] =
            switch access {
            case .read: [adminGroup, writeGroup]
            case .write: [writeGroup]
            }
        return groups.contains { $0.map { peer.isMember(of: $0.number) } ?? false }
    }

    /// Says who was refused what, and what would help.
    func refusal(of access: AdminAccess, to peer: PeerCredentials) -> AdminError {
        let user =
            Accounts.nameFromFile(.users, number: peer.user).map { "\($0) (uid \(peer.user))" }
            ?? "uid \(peer.user)"
        let group = access == .read ? adminGroup ?? writeGroup : writeGroup
        let deed = access == .read ? "read the state of this node" : "change this node"
        guard let group else {
            let flag = access == .read ? "--admin-group" : "--write-group"
            return AdminError(
                .permissionDenied, "user \(user) may not \(deed): only root may",
                hint: "run it as root, or start mesh-agent with \(flag)")
        }
        return AdminError(
            .permissionDenied, "user \(user) may not \(deed): not a member of group \(group.name)",
            hint: "run it as root, or join the group (usermod -aG \(group.name) USER) and log in again")
    }
}
