/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbpf, and what Swift cannot say about it: atomic access to shared memory, the
 * anonymous unions of the kernel's info structures, BTF accessors that are inline.
 * Only static inline functions without state: every Swift file gets its own copy.
 */
#ifndef CLIBBPF_SHIM_H
#define CLIBBPF_SHIM_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vasprintf(3), which <stdio.h> hides without _GNU_SOURCE. */
extern int vasprintf(char **text, const char *format, va_list arguments);

/* A store that makes every earlier store visible first; read by BPF programs on other CPUs. */
static inline void sockops_store_release_u32(void *address, __u32 value)
{
	__atomic_store_n((__u32 *)address, value, __ATOMIC_RELEASE);
}

static inline __u32 sockops_load_acquire_u32(const void *address)
{
	return __atomic_load_n((const __u32 *)address, __ATOMIC_ACQUIRE);
}

static inline void sockops_store_relaxed_u32(void *address, __u32 value)
{
	__atomic_store_n((__u32 *)address, value, __ATOMIC_RELAXED);
}

static inline void sockops_store_relaxed_u64(void *address, __u64 value)
{
	__atomic_store_n((__u64 *)address, value, __ATOMIC_RELAXED);
}

struct sockops_link_info {
	__u32 id;
	__u32 type;       /* enum bpf_link_type */
	__u32 program_id; /* 0: none, the link is dead */
	__u32 attach_type;
	__u64 target;     /* cgroup id or inode of the netns; 0: the target is gone */
};

/* Returns 0 or -errno. */
static inline int sockops_link_info(int fd, struct sockops_link_info *out)
{
	struct bpf_link_info info;
	__u32 length = sizeof(info);
	int status;

	memset(&info, 0, sizeof(info));
	status = bpf_obj_get_info_by_fd(fd, &info, &length);
	if (status)
		return status;
	memset(out, 0, sizeof(*out));
	out->id = info.id;
	out->type = info.type;
	out->program_id = info.prog_id;
	if (info.type == BPF_LINK_TYPE_CGROUP) {
		out->attach_type = info.cgroup.attach_type;
		out->target = info.cgroup.cgroup_id;
	} else if (info.type == BPF_LINK_TYPE_NETNS) {
		out->attach_type = info.netns.attach_type;
		out->target = info.netns.netns_ino;
	}
	return 0;
}

struct sockops_program_info {
	__u32 id;
	__u32 type; /* enum bpf_prog_type */
	__u32 map_count;
	char name[BPF_OBJ_NAME_LEN];
};

/* map_ids may be 0 with capacity 0; map_count is the number that the program has. Returns 0 or -errno. */
static inline int sockops_program_info(int fd, struct sockops_program_info *out, __u32 *map_ids, __u32 capacity)
{
	struct bpf_prog_info info;
	__u32 length = sizeof(info);
	int status;

	memset(&info, 0, sizeof(info));
	info.nr_map_ids = capacity;
	info.map_ids = (__u64)(unsigned long)map_ids;
	status = bpf_obj_get_info_by_fd(fd, &info, &length);
	if (status)
		return status;
	out->id = info.id;
	out->type = info.type;
	out->map_count = info.nr_map_ids;
	memcpy(out->name, info.name, sizeof(out->name));
	return 0;
}

/* Offset in .rodata of a const volatile variable, and its size; -1 if the object has none of that name. */
static inline int sockops_rodata_offset(const struct bpf_object *object, const char *variable, __u32 *size)
{
	const struct btf *btf = bpf_object__btf(object);
	const struct btf_var_secinfo *entry;
	const struct btf_type *section, *type;
	int id, i;

	id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
	if (id < 0)
		return -1;
	section = btf__type_by_id(btf, (__u32)id);
	entry = btf_var_secinfos(section);
	for (i = 0; i < btf_vlen(section); i++, entry++) {
		type = btf__type_by_id(btf, entry->type);
		if (strcmp(btf__name_by_offset(btf, type->name_off), variable))
			continue;
		*size = entry->size;
		return (int)entry->offset;
	}
	return -1;
}

#endif /* CLIBBPF_SHIM_H */
