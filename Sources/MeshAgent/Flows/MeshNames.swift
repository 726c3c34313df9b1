// SPDX-License-Identifier: Apache-2.0
import MeshAdmin
import MeshModel

/// What numbers and addresses of the kernel's records are called.
///
/// Asked while an event or a connection is reported, so it speaks of the mesh as it is now.
protocol MeshNames {
    /// The enrolled pod of a namespace.
    func workload(in netns: NetnsCookie) -> NamespacedName?
    /// The pod that has an address, on any node.
    func workload(at address: IPAddress) -> NamespacedName?
    func service(at key: ServiceKey) -> NamespacedName?
    func identity(_ number: IdentityNumber) -> IdentityReport
    /// The policy that decides `question` in one direction, if one does.
    func decidingPolicy(_ question: PolicyQuestion, _ direction: PolicyDirection) -> PolicyReference?
}

extension MeshNames {
    /// One end of a flow. The workload is found by its namespace if it is a local one, else by the address.
    func end(
        _ address: IPAddress, _ port: UInt16, netns: NetnsCookie, identity number: UInt32
    ) -> EndReport {
        let workload = netns == 0 ? nil : self.workload(in: netns)
        return EndReport(
            workload: (workload ?? self.workload(at: address))?.description, address: address.description, port: port,
            identity: number == 0 ? nil : identity(IdentityNumber(rawValue: number)))
    }

    /// - Returns: `nil` if no service was asked for.
    func serviceAddress(_ address: IPAddress, _ port: UInt16, _ transport: TransportProtocol) -> ServiceAddressReport? {
        guard port != 0 else { return nil }
        let service = service(at: ServiceKey(address: address, port: port, transport: transport))
        return ServiceAddressReport(service: service?.description, address: address.description, port: port)
    }
}
