# What the scripts of a replica have in common beside dce.ksh. Read by them, not run.
#
# A replica is a machine outside the group with a copy of realm and directory. It follows the service address, not a
# node: of a takeover it sees that the master was away for a moment. It is never promoted. All that it has:

HERE=/var/lib/dce-replica
RUN=/run/dce-replica
export KRB5_CONFIG=$HERE/krb5.conf KRB5_KDC_PROFILE=$HERE/kdc.conf KRB5_KTNAME=$HERE/keytab

function read_replica {
    [[ -r $HERE/replica_cf ]] || die "$HERE/replica_cf is not there: was config.replica run?"
    . "$HERE/replica_cf"
}
