//! An init script of somebody's own, written for `ccontrol` and for nothing of ours, with the habits that such scripts
//! have: the directory by `grep`, the state by `grep` in the list of all, the lock file removed, any exit code but 1 of a
//! start taken for success.

use crate::cluster::{Cluster, told};
use crate::examples::{equipment, example};
use crate::machine::sh;

const MAIN: &str = r#"#!/bin/ksh
what=$1
who=$2
how=$3
if [ -z "$who" ]; then print "which instance?"; exit 1; fi
home=$(/usr/bin/ccontrol list $who | grep -i directory | awk '{print $2}')
[ -n "$home" ] || { print "no such instance: $who"; exit 1; }
case $what in
    start)
        if [[ -e $home/mgr/cache.ids && $how == failover ]]; then rm -f $home/mgr/cache.ids; fi
        [[ $how == failover ]] && rm -f $home/mgr/regent.ids
        ccontrol start $who quietly
        [ $? -eq 1 ] && exit 1
        ;;
    stop)
        ccontrol stop $who quietly
        [ $? -eq 1 ] && exit 1
        ;;
    status)
        now=$(/usr/bin/ccontrol all | grep -i $who | awk '{print $1}')
        [ "$now" = up ] && exit 0
        exit 1
        ;;
    restart) $0 stop $who $how; $0 start $who $how ;;
    *) print "usage: $0 start|stop|status|restart INSTANCE [failover]"; exit 1 ;;
esac
exit 0
"#;

const WRAPPER: &str = "#!/bin/ksh\n/opt/ours/database $1 cachehal failover\nexit $?\n";

#[test]
fn a_script_that_knows_nothing_but_ccontrol_works_as_user_script() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("regent-test-init-{}", std::process::id()));
    let (names, ours) = (folder.join("names"), folder.join("ours"));
    std::fs::create_dir_all(&ours).unwrap();
    for (name, text) in [("database", MAIN), ("database-cachehal", WRAPPER)] {
        std::fs::write(ours.join(name), text).unwrap();
        std::fs::set_permissions(ours.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut words = equipment(&names);
    words.extend(["--put".to_owned(), format!("{}:/opt/ours", ours.display())]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = example("hot-standby")
        .replace("/usr/local/etc/cachesys/cache-cachehal", "/opt/ours/database-cachehal");
    let cluster = Cluster::up_with("cacheis", &text, &words);
    std::fs::remove_dir_all(&folder).unwrap();
    let up = |node: &str| sh(&cluster, node, "ccontrol all | grep -i cachehal | awk '{print $1}'");
    assert_eq!(up("lx4"), "up", "{}", cluster.evidence());
    // By hand, as its people do, on the right node and on the wrong one.
    sh(&cluster, "lx4", "/opt/ours/database restart cachehal");
    assert_eq!(up("lx4"), "up");
    let downs =
        cluster.events("lx4").iter().filter(|e| e.text.starts_with("CACHEHAL is down on lx4")).count();
    assert_eq!(downs, 1, "it was stopped in between: {}", cluster.evidence());
    let wrong = cluster.lab.output("lx5", &["/opt/ours/database", "start", "cachehal", "failover"]).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "the flag does not make a double start possible");
    assert!(told(&wrong).contains("which lx4 has"), "{}", told(&wrong));

    cluster.lab.off("lx4").unwrap();
    cluster.online_on("cachehal", "lx5");
    assert_eq!(up("lx5"), "up", "{}", cluster.evidence());
    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    cluster.order("lx4", &["group", "move", "cachehal", "lx4"]);
    cluster.online_on("cachehal", "lx4");
    assert_eq!(up("lx4"), "up", "{}", cluster.evidence());
    cluster.order("lx4", &["group", "disable", "cachehal"]);
    assert_eq!(up("lx4"), "dn", "{}", cluster.evidence());
    cluster.one_writer();
}
