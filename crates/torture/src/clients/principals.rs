//! Kerberos: principals, each made by an administrator who has just logged in.

use std::collections::BTreeSet;

use regent_lab::CLIENT;

use super::printed;
use crate::loads::{PASSWORD, REALM, address};
use crate::stage::Stage;

/// Where the client's own configuration and tickets are.
const CONFIG: &str = "/tmp/torture-krb5.conf";

/// Logs in by `kinit`, makes a principal, and prints its number when the server has said that it is made.
const LOOP: &str = r#"
cat > OWN_FILE <<'END'
[libdefaults]
 default_realm = REALM
 dns_lookup_kdc = false
 rdns = false
 dns_canonicalize_hostname = false
[realms]
 REALM = {
  kdc = ADDRESS
  admin_server = ADDRESS
 }
END
export KRB5_CONFIG=OWN_FILE KRB5CCNAME=FILE:/tmp/torture.cc
i=1
while :; do
    if echo PASSWORD | timeout 5 kinit admin/admin >/dev/null 2>&1 &&
        timeout 8 kadmin -p admin/admin -w PASSWORD -q "addprinc -pw secret p$i" 2>/dev/null | grep -q created
    then echo "$i"; fi
    i=$((i+1)); sleep 0.2
done
"#;

pub(super) fn script() -> String {
    let script = LOOP.replace("ADDRESS", &address("kdc")).replace("OWN_FILE", CONFIG);
    script.replace("REALM", REALM).replace("PASSWORD", PASSWORD)
}

/// The principals that are there.
pub(super) fn kept(stage: &Stage) -> Option<BTreeSet<u64>> {
    let list = format!("KRB5_CONFIG={CONFIG} timeout 20 kadmin -p admin/admin -w {PASSWORD} -q listprincs");
    let text = printed(stage, CLIENT, &["sh", "-c", &list])?;
    // Without the first, nothing was listed.
    text.contains("admin/admin@").then(|| {
        let names = text.lines().filter_map(|l| l.split('@').next()?.strip_prefix('p'));
        names.filter_map(|number| number.parse().ok()).collect()
    })
}
