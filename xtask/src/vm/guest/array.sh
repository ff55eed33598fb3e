# The array: the kernel's own iSCSI target, with one disk for the two nodes. It keeps and enforces reservations.
load /modules.array
mount -t configfs none /sys/kernel/config
mkdir -p /var/target/pr
target=/sys/kernel/config/target
name=iqn.2026-11.test.regent
mkdir -p $target/core/iblock_0/data
echo udev_path=/dev/disk/by-lun/data > $target/core/iblock_0/data/control
echo regent-0001 > $target/core/iblock_0/data/wwn/vpd_unit_serial
echo 1 > $target/core/iblock_0/data/enable
portal=$target/iscsi/$name:array/tpgt_1
mkdir -p $portal
echo 0 > $portal/attrib/authentication
echo 0 > $portal/attrib/generate_node_acls
mkdir $portal/np/10.98.0.8:3260
mkdir $portal/lun/lun_0
ln -s $target/core/iblock_0/data $portal/lun/lun_0/data
for node in lx4 lx5; do
    mkdir $portal/acls/$name:$node
    mkdir $portal/acls/$name:$node/lun_0
    # As where a disk is not reached over TCP: who says nothing for a while keeps its place.
    echo 0 > $portal/acls/$name:$node/attrib/nopin_timeout
    ln -s $portal/lun/lun_0 $portal/acls/$name:$node/lun_0/data
done
echo 1 > $portal/enable
