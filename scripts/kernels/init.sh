#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The first process of the virtual machine of scripts/kernels: mounts, modules, the smoke test, the end of the machine.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/netns
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do
    insmod "$module" || echo "kernels: insmod $module failed"
done
ip link set lo up
# shellcheck disable=SC2013 # words of the command line are what is wanted
for word in $(cat /proc/cmdline); do
    case $word in mesh_build=*) export MESH_BUILD="${word#mesh_build=}" ;; esac
done
python3 /mesh/scripts/kernels/smoke.py
echo "kernels: smoke ended with $?"
echo b >/proc/sysrq-trigger
sleep 60
