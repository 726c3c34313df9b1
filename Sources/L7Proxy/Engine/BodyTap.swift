// SPDX-License-Identifier: Apache-2.0

/// Is shown the pieces of a body on their way.
protocol BodyTap: BitwiseCopyable {
    /// - Parameters:
    ///   - bytes: The piece, and what follows it in the block.
    ///   - count: Bytes of the piece.
    func take(_ bytes: UnsafeRawBufferPointer, _ count: Int, _ pool: inout BufferPool)
}

/// Takes nothing, and costs nothing: pumps are compiled for each tap.
struct NoTap: BodyTap {
    @inline(__always)
    func take(_ bytes: UnsafeRawBufferPointer, _ count: Int, _ pool: inout BufferPool) {}
}

/// Copies what is new of a request's body to its mirrors.
struct MirrorTap: BodyTap {
    let request: ExchangePointer
    /// That one copy may hold.
    let limit: Int

    func take(_ bytes: UnsafeRawBufferPointer, _ count: Int, _ pool: inout BufferPool) {
        take(UnsafeRawBufferPointer(rebasing: bytes[..<count]), &pool)
    }

    func take(_ piece: UnsafeRawBufferPointer, _ pool: inout BufferPool) {
        var next = request.pointee.mirror
        while let copy = next {
            next = copy.pointee.nextMirror
            copy.pointee.met &+= UInt64(piece.count)
            // A further attempt of the request meets the same bytes again.
            guard copy.pointee.met > copy.pointee.copied else { continue }
            let fresh = Int(copy.pointee.met &- copy.pointee.copied)
            copy.pointee.copied = copy.pointee.met
            let rest = UnsafeRawBufferPointer(rebasing: piece.suffix(fresh))
            // Copies give way long before there is no memory for requests.
            guard copy.pointee.requestQueue.count + rest.count <= limit, pool.lent < pool.limit / 2,
                copy.pointee.requestQueue.append(rest, &pool)
            else {
                copy.pointee.marks.insert(.fellBehind)
                continue
            }
        }
    }
}
