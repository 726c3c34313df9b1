/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The node's own connections to its pods: records that let a pod's ingress know the node. */
#ifndef MESH_HOST_H
#define MESH_HOST_H

#include "sockops.h"

/* On the root of the hierarchy: records of the node's own connections to its pods, and nothing else. */
SEC("sockops")
int mesh_host_ops(struct bpf_sock_ops *ops)
{
	struct mesh_control *ctl;
	struct mesh_address *address;
	struct mesh_flow_key key = {};
	struct mesh_end end = {}, *old;
	struct bpf_sock *sk;
	struct tcp_sock *tp;

	if (ops->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    (ops->op != BPF_SOCK_OPS_STATE_CB || ops->args[1] != TCP_CLOSE))
		return 1;
	ctl = control();
	sk = ops->sk;
	if (!ctl || !sk || (ops->family != AF_INET && ops->family != AF_INET6) ||
	    bpf_get_netns_cookie(ops) != ctl->node_netns)
		return 1;
	FLOW_KEY_FROM(ops, &key);
	if (ops->op == BPF_SOCK_OPS_STATE_CB) {
		old = bpf_map_lookup_elem(&mesh_ends, &key);
		if (old && (old->flags & MESH_END_HOST) && old->cookie == bpf_get_socket_cookie(ops))
			bpf_map_delete_elem(&mesh_ends, &key);
		return 1;
	}
	address = bpf_map_lookup_elem(&mesh_addresses, &key.remote);
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !address_netns(address, READ_ONCE(ctl->generation)))
		return 1;
	end.cookie = bpf_get_socket_cookie(ops);
	end.netns = ctl->node_netns;
	end.opened_ns = bpf_ktime_get_ns();
	end.role = MESH_ROLE_CLIENT;
	end.path = MESH_PATH_TCP;
	end.reason = MESH_REASON_PEER_REMOTE;
	end.flags = MESH_END_HOST;
	end.identity = MESH_IDENTITY_HOST;
	end.isn = tp->write_seq;
	if (!end_insert(&key, &end))
		bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG | ops->bpf_sock_ops_cb_flags);
	return 1;
}

#endif /* MESH_HOST_H */
