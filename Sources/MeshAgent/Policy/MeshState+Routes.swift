// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshManifests
import MeshModel

extension MeshState {
    /// The proxy has everything in force that it has been told: its routes may decide from now on.
    func acknowledgeRoutes() {
        guard hasStarted else { return }
        do throws(Reconciler.Failure) {
            if let outcome = try reconciler.acknowledgeRoutes() { finish(outcome, cause: "routes", changes: []) }
        } catch {
            logger.error("services are not led to the proxy", metadata: ["error": "\(error)"])
        }
    }

    /// Applied by `meshctl` when there was a proxy.
    func logUnenforcedRoutes() {
        guard !reconciler.compiler.configuration.hasProxy else { return }
        for object in store.objects.objects.values {
            switch object {
            case .route, .meshPolicy:
                logger.warning(
                    "\(object.kind) not in force: it needs the node proxy, and none runs (see --proxy)",
                    metadata: ["object": "\(object.reference)"])
            default: break
            }
        }
    }
}
