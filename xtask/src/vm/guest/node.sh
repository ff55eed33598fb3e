# A node: its state, and Regent, if it belongs to a cluster already.
mount -t ext4 /dev/disk/by-lun/state /var/lib/regent
mkdir -p /var/lib/regent/etc
ln -sf /var/lib/regent/etc /etc/regent
if [ -e /var/lib/regent/identity.json ]; then
    # Not sooner than a machine with firmware would: one that is back before its lease has ended proves that it was reset,
    # and nobody has to take anything over from it.
    (
        while [ $(cut -d . -f 1 /proc/uptime) -lt 20 ]; do usleep 200000; done
        exec regent node run > /dev/ttyS0 2>&1 < /dev/null
    ) &
fi
