//! The ledger as a script with `start`, `stop` and `status`: what managers other than Regent call. The same script is
//! an OCF agent.

use regent_lab::LabSpec;

use crate::service::{Kind, ledger_words, service_at};

/// Where it is in the nodes.
pub(crate) const SCRIPT: &str = "/usr/local/sbin/bench-ledger";

/// Where Pacemaker finds it as `ocf:bench:ledger`.
const OCF: &str = "/usr/lib/ocf/resource.d/bench/ledger";

/// What Pacemaker wants to know of an agent.
const METADATA: &str = r#"<?xml version="1.0"?>
<resource-agent name="ledger" version="1">
<version>1.1</version>
<longdesc lang="en">The ledger of a lab</longdesc>
<shortdesc lang="en">ledger</shortdesc>
<parameters/>
<actions>
<action name="start" timeout="20s"/>
<action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
"#;

/// Puts the script into the nodes.
pub(crate) fn install(spec: &mut LabSpec, kind: Kind) {
    let text = text(kind);
    *spec = spec.clone().file(SCRIPT, 0o755, text.clone()).file(OCF, 0o755, text);
}

fn text(kind: Kind) -> String {
    let serve = ledger_words(kind.folder()).join(" ");
    let folder = kind.folder().display();
    let port = service_at().port();
    format!(
        r#"#!/bin/sh
# start returns once the ledger listens; 0 is done or running, 7 is not running
number=/run/bench-ledger.pid
runs() {{ [ -s $number ] && read -r pid < $number && [ -d "/proc/$pid" ]; }}
listens() {{ grep -q ':{port:04X} ' /proc/net/udp; }}
start() {{
    mkdir -p {folder}
    for try in 1 2 3 4 5; do
        setsid {serve} < /dev/null > /dev/null 2>&1 &
        echo $! > $number
        while runs; do
            listens && return 0
            sleep 0.005
        done
        sleep 0.02
    done
    return 1
}}
case "$1" in
start) runs || start ;;
stop)
    if runs; then kill -9 "$pid"; while runs; do :; done; fi
    rm -f $number ;;
status|monitor) runs || exit 7 ;;
# keepalived: what the node is told to be, and whether the ledger should run there
master) echo master > /run/bench-role; "$0" start ;;
backup) echo backup > /run/bench-role; "$0" stop ;;
check) [ "$(cat /run/bench-role 2> /dev/null)" != master ] || "$0" start ;;
meta-data) cat << 'END'
{METADATA}END
    ;;
*) exit 3 ;;
esac
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_understands_the_script_and_it_describes_itself() {
        let text = text(Kind::Ext4);
        let output = std::process::Command::new("sh").args(["-c", &text, "x", "meta-data"]).output().unwrap();
        // Through -c the action is $1 as in the file.
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("<resource-agent name=\"ledger\""), "{said}");
        assert!(text.contains(":1B5F "), "the port as the kernel lists it");
    }
}
