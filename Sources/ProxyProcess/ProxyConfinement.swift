// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxIO

/// What a proxy gives up before it talks to anybody, in this order.
public struct ProxyConfinement: Hashable, Sendable {
    /// Whom a proxy runs as; `nil`: whoever started it.
    public var account: Account?
    /// Descriptors that it may have open: connections, legs, listeners.
    public var descriptors: UInt64

    public struct Account: Hashable, Sendable {
        public var user: UInt32
        public var group: UInt32

        public init(user: UInt32, group: UInt32) {
            self.user = user
            self.group = group
        }

        /// A number that no distribution gives to anybody: "nobody" of container images.
        public static let usual = Account(user: 65532, group: 65532)
    }

    public init(account: Account?, descriptors: UInt64 = 65536) {
        self.account = account
        self.descriptors = descriptors
    }

    /// - Parameter kept: descriptors that stay open besides standard error; all others are closed.
    /// - Throws: ``SystemError`` that says what could not be given up: the process must not go on.
    public func apply(keeping kept: [CInt]) throws(SystemError) {
        try Confinement.closeDescriptors(except: kept)
        try Confinement.detachStandardStreams()
        try Confinement.setLimits(descriptors: descriptors)
        // Workers sleep for tens of microseconds, and are made later.
        try DetachedThread.setTimerSlack(nanoseconds: 1000)
        // The agent goes before the pods; its proxy does not.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 0)
        if geteuid() == 0 || getuid() == 0 {
            guard let account, account.user != 0, account.group != 0 else {
                throw SystemError(
                    "setresuid", errnoCode: EPERM,
                    hint: "mesh-proxy does not run as root: give --user and --group that are not 0")
            }
            try Confinement.become(user: account.user, group: account.group)
        } else if let account, account.user != getuid() || account.group != getgid() {
            throw SystemError(
                "setresuid", "\(account.user):\(account.group)", errnoCode: EPERM,
                hint: "started as \(getuid()):\(getgid()); leave --user and --group out, or start it as root")
        }
        try Confinement.dropPrivileges()
        try ProxyFilter.make().install()
    }
}
