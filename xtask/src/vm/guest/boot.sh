#!/bin/sh
# What every machine does first. What it is stands on the kernel's command line.
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /tmp /data /powered /var/lib/regent
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
load() {
    # One that an earlier list has loaded is refused.
    for module in $(cat $1); do insmod /lib/modules/$module 2>/dev/null; done
}
load /modules
for word in $(cat /proc/cmdline); do
    case $word in node=*|number=*|role=*) eval "$word" ;; esac
done
hostname $node
ip link set lo up
ip link set eth0 up
ip address add 10.99.0.$number/24 dev eth0
if [ -e /sys/class/net/eth1 ]; then
    ip link set eth1 up
    ip address add 10.98.0.$number/24 dev eth1
fi
# A kernel that panics hangs, as one does whose processors stand still: only the watchdog resets it.
echo 0 > /proc/sys/kernel/panic
echo 1 > /proc/sys/kernel/sysrq
mkdir -p /dev/disk/by-lun
# The disks of this machine itself, by their numbers at its own adapter.
own_disk() {
    n=0
    until [ -e /dev/disk/by-lun/$2 ] || [ $n = 100 ]; do
        for disk in /sys/block/sd*; do
            lun=$(ls -d $disk/device/scsi_device/* 2>/dev/null)
            case $lun in *:$1) ln -sf /dev/${disk##*/} /dev/disk/by-lun/$2 ;; esac
        done
        n=$((n + 1))
        usleep 50000
    done
}
case $role in
    node) own_disk 0 state; own_disk 1 data; . /etc/as-node ;;
    initiator) own_disk 0 state; . /etc/as-initiator; . /etc/as-node ;;
    array) own_disk 1 data; . /etc/as-array ;;
esac
