# What the scripts of DFS have in common beside dce.ksh. Read by them, not run.
#
# OpenAFS looks for its things below /etc/openafs and /var/lib/openafs on the node. Three links lead from there to the
# group's file systems; they are part of the preparation of every node.

DFS_ETC=/etc/dce/dfs
DFS_VAR=/var/dce/dfs
DFS_BIN=/usr/lib/openafs
BOS_PID=$RUN/dfs/bosserver.pid

# Makes the links. What the package put there is kept beside them.
function link_dfs {
    link_one "$DFS_ETC/server" /etc/openafs/server
    link_one "$DFS_VAR/db" /var/lib/openafs/db
    link_one "$DFS_VAR/local" /var/lib/openafs/local
}

function link_one { # target link
    [[ -L $2 && $(readlink "$2") == "$1" ]] && return 0
    [[ ! -e $2 || -L $2 ]] || mv "$2" "$2.package" || die "cannot move $2 away"
    mkdir -p "${2%/*}" && ln -sfn "$1" "$2" || die "cannot link $2 to $1"
}

# Whether the database server on this port may be written to.
function has_quorum { # port
    timeout 3 udebug "$address" "$1" 2>/dev/null | grep -q 'Recovery state 1f'
}

# Whether all parts of the file server run.
function files_are_served {
    bos status "$address" dafs -localauth 2>/dev/null | grep -q 'file server running' && timeout 3 rxdebug "$address" 7000 -version >/dev/null 2>&1
}

# Whether volumes can be made and moved; the volume server is ready some seconds after the file server.
function volumes_are_served {
    timeout 3 rxdebug "$address" 7005 -version >/dev/null 2>&1
}
