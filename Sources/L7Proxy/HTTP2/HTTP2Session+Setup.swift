// SPDX-License-Identifier: Apache-2.0

internal import CNGHTTP2

extension HTTP2Session {
    /// Makes the nghttp2 session of `core` and queues our SETTINGS.
    ///
    /// - Returns: 0, or the number of an nghttp2 error.
    static func start(_ core: UnsafeMutablePointer<HTTP2Core>, _ pool: HTTP2MemoryPool) -> Int32 {
        let limits = core.pointee.limits
        let isServer = core.pointee.isServer
        var created: OpaquePointer?
        guard nghttp2_option_new(&created) == 0, let options = created else { return NGHTTP2_ERR_NOMEM.rawValue }
        defer { nghttp2_option_del(options) }
        // Windows open when what filled them has been passed on, not when it has arrived.
        nghttp2_option_set_no_auto_window_update(options, 1)
        // Messages are checked by the head readers and the core, which know more of them: what RFC 9113 sections 8.1 to 8.3
        // and 8.5 refuse is refused there, once.
        nghttp2_option_set_no_http_messaging(options, 1)
        nghttp2_option_set_max_reserved_remote_streams(options, 0)
        nghttp2_option_set_max_outbound_ack(options, limits.waitingAcknowledgements)
        nghttp2_option_set_max_settings(options, limits.settings)
        nghttp2_option_set_max_deflate_dynamic_table_size(options, limits.compressorTableBytes)
        nghttp2_option_set_no_closed_streams(options, 1)
        mesh_nghttp2_leave_continuations_to_us(options)
        // No more than the peer accepts of fields may be queued: 64 KiB is nghttp2's own limit, too little for ours.
        nghttp2_option_set_max_send_header_block_length(options, 4 * Int(limits.headerListBytes))
        let make = isServer ? nghttp2_session_server_new3 : nghttp2_session_client_new3
        let status = pool.lendingFrame {
            make(&core.pointee.session, HTTP2Callbacks.table, core, options, pool.functions)
        }
        guard status == 0 else { return status }
        if !isServer { core.pointee.takePreface() }
        return submitSettings(core.pointee.session, limits, isServer)
    }

    private static func submitSettings(_ session: OpaquePointer?, _ limits: HTTP2Limits, _ isServer: Bool) -> Int32 {
        func entry(_ id: nghttp2_settings_id, _ value: UInt32) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(bitPattern: id.rawValue), value: value)
        }
        var settings = [
            isServer
                ? entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreams)
                : entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
            entry(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits.frameBytes),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytes),
            // RFC 9218 section 2.1: priorities of RFC 7540 are not looked at, and no tree of them is kept.
            entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
        ]
        // What everybody begins with need not be said.
        if limits.tableBytes != 4096 { settings.append(entry(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, limits.tableBytes)) }
        if isServer, limits.takesExtendedConnect { settings.append(entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1)) }
        let status = nghttp2_submit_settings(session, 0, settings, settings.count)
        guard status == 0 else { return status }
        return nghttp2_session_set_local_window_size(session, 0, 0, Int32(clamping: limits.connectionWindow))
    }
}
