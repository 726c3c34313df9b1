// SPDX-License-Identifier: Apache-2.0
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzManifests(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt { 0 }
