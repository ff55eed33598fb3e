# What the scripts of DCE and DFS have in common: where things are, and how a daemon is started, seen and ended.
# Read by them (`. dce.ksh`), not run. For ksh93.
#
# On the group's file systems, so that they move with it:
#   /krb5      the realm: database, its master key, the keytab of the cell's machine
#   /etc/dce   configuration; dce_cf.db says what config.dce was told
#   /var/dce   state: endpoint map, credentials, directory
# In /run/dce, which belongs to the node: pid files and sockets. They mean nothing on another node.

set -o pipefail
umask 022
DCE_CF=/etc/dce/dce_cf.db
RUN=/run/dce
CREDS=/var/dce/security/creds
EPDB=/var/dce/dced
export KRB5_CONFIG=/krb5/krb5.conf KRB5_KDC_PROFILE=/krb5/kdc.conf
# The login of whoever started us is not the cell's.
unset KRB5CCNAME
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

function die {
    print -u2 -r -- "${SELF:-dce}: $*"
    exit 1
}

# Sets cell, realm, suffix, address, hostname and so on, as config.dce wrote them.
function read_cf {
    [[ -r $DCE_CF ]] || die "$DCE_CF is not there: is the group's storage mounted, and was config.dce run?"
    . "$DCE_CF"
}

# Whether the daemon whose pid file and program these are is alive. A number alone is no proof: it may be
# anybody's on this node.
function runs { # pidfile program
    typeset pid comm
    read -r pid 2>/dev/null <"$1" || return 1
    [[ $pid == +([0-9]) ]] || return 1
    read -r comm 2>/dev/null <"/proc/$pid/comm" || return 1
    [[ ${2##*/} == "$comm"* ]]
}

# Starts a daemon that goes into the background by itself and writes its pid file; one that runs stays.
function launch { # name pidfile program arguments...
    typeset name=$1 pidfile=$2 program=$3
    shift 2
    if runs "$pidfile" "$program"; then
        print -r -- "  $name runs already"
        return 0
    fi
    rm -f "$pidfile"
    "$@" </dev/null || die "$name did not start: ${program##*/} ended with $?"
    until_true 10 runs "$pidfile" "$program" || die "$name did not start: $pidfile names no ${program##*/}"
    print -r -- "  $name started"
}

# Ends a daemon by its pid file: asked, waited for, then killed. Fails when it is still there.
function finish { # name pidfile program
    if ! runs "$2" "$3"; then
        rm -f "$2"
        return 0
    fi
    typeset pid=$(<"$2")
    kill -TERM "$pid" 2>/dev/null
    if ! until_true 8 gone "$2" "$3"; then
        print -u2 -r -- "  $1 does not end when asked, and is killed"
        kill -KILL "$pid" 2>/dev/null
        until_true 5 gone "$2" "$3" || { print -u2 -r -- "  $1 ($pid) cannot be killed"; return 1; }
    fi
    rm -f "$2"
    print -r -- "  $1 stopped"
}

function gone { ! runs "$1" "$2"; }

# Asks until it is so, at most so many seconds.
function until_true { # seconds command...
    typeset -F end
    ((end = SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# Whether somebody takes connections there.
function answers { # address port
    (exec 3<> "/dev/tcp/$1/$2") 2>/dev/null
}

# The node's IPv4 addresses, one a line.
function node_addresses {
    ip -4 -o addr show | while read -r _ _ _ cidr _; do print -r -- "${cidr%/*}"; done
}

# What must not be used or told to clients, one a line: every IPv4 address of the node but those of the group. Regent says
# it in both variables; by hand the second may be set, with colons, as for DCE.
function excluded_addresses {
    typeset one
    for one in ${REGENT_EXCLUDED_ADDRESSES//,/ } ${RPC_UNSUPPORTED_NETADDRS//:/ }; do
        [[ $one == +([0-9]).+([0-9]).+([0-9]).+([0-9]) ]] && print -r -- "$one"
    done | sort -u
}

# The addresses that servers may bind and advertise, one a line.
function supported_addresses {
    typeset excluded=$(excluded_addresses)
    excluded=" ${excluded//$'\n'/ } "
    typeset one
    for one in $(node_addresses); do
        [[ $one == 127.* || $excluded == *" $one "* ]] || print -r -- "$one"
    done
}
