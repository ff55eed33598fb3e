# The array's disk, over the storage network.
load /modules.initiator
echo "InitiatorName=iqn.2026-11.test.regent:$node" > /etc/iscsi/initiatorname.iscsi
mkdir -p /run/lock/iscsi /etc/iscsi/nodes /etc/iscsi/send_targets /etc/iscsi/ifaces
iscsid
target="-m node -T iqn.2026-11.test.regent:array -p 10.98.0.8:3260"
n=0
until iscsiadm $target -o new > /tmp/iscsi 2>&1 && iscsiadm $target --login >> /tmp/iscsi 2>&1 || [ $n = 60 ]; do
    n=$((n + 1))
    sleep 1
done
n=0
until [ -e /dev/disk/by-lun/data ] || [ $n = 200 ]; do
    for disk in /sys/block/sd*; do
        case $(cat $disk/device/vendor) in LIO-ORG*) ln -sf /dev/${disk##*/} /dev/disk/by-lun/data ;; esac
    done
    n=$((n + 1))
    usleep 50000
done
