//! Who may ask what, what is on record of it, and that no secret is anywhere where it need not be.

use std::fs;
use std::path::{Path, PathBuf};

use regent_model::journal::Entry;

use crate::cluster::{Cluster, find, head, ledger_group, owner, peer, told};
use crate::machine::sh;

/// What the fence device is told, and nobody else is to see.
const PASSWORD: &str = "Sesame-open-4711";
/// The number of a group of users in the lab, and that of a user.
const VIEWERS: &str = "64711";
const NOBODY: &str = "65534";

fn config() -> String {
    let fence = "nodes = [\"lx4\", \"lx5\"]\n";
    let told = format!("{fence}options = {{ login = \"admin\", passwd = \"{PASSWORD}\" }}\n");
    head("normal").replacen(fence, &told, 1) + &ledger_group("rotating", "\"fenced\"")
}

/// Runs `regent` on a machine as a user who is in this group alone.
fn as_user(cluster: &Cluster, node: &str, group: &str, words: &str) -> String {
    let script = format!(
        "setpriv --reuid {NOBODY} --regid {NOBODY} --groups {group} /tmp/regent {words} 2>&1 || true"
    );
    sh(cluster, node, &script)
}

/// Every file below a folder in which one of these stands.
fn holding(folder: &Path, secrets: &[Vec<u8>], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            holding(&path, secrets, found);
        } else if kind.is_file() {
            let text = as_text(&fs::read(&path).unwrap_or_default());
            if secrets.iter().any(|secret| text.contains(&as_text(secret))) {
                found.push(path);
            }
        }
    }
}

/// A character for each byte: the library looks for texts faster than for bytes.
fn as_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A secret as it may be written: its bytes, in hexadecimal digits of either kind, as numbers, and in base64 (by its
/// middle, which stands so wherever it begins).
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = |between: &str| {
        let all: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        all.join(between)
    };
    let base64 = |skip: usize| -> Vec<u8> {
        let whole = bytes[skip..].chunks_exact(3);
        whole
            .flat_map(|c| {
                let bits = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
                [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize])
            })
            .collect()
    };
    let mut forms = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    forms.extend([numbers(","), numbers(", ")].map(String::into_bytes));
    forms.extend((0..3).map(base64));
    forms
}

fn audit(cluster: &Cluster, node: &str) -> Vec<Entry> {
    let said = cluster.on(node, &["events", "--audit", "--json"]);
    serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", told(&said)))
}

#[test]
fn users_may_what_their_role_says_orders_are_on_record_and_no_secret_is_where_it_need_not_be() {
    let cluster = Cluster::up("access", &config());
    let first = owner(&cluster.status().unwrap(), "ledger");
    let second = peer(&first);
    roles(&cluster, &first);
    // An order of root, and its outcome, are on record on both nodes.
    cluster.order(&first, &["group", "move", "ledger", second]);
    cluster.online_on("ledger", second);
    let is_told = |entries: &[Entry]| {
        entries.iter().any(|e| {
            e.node.as_str() == first
                && e.text.starts_with("root (uid 0")
                && e.text.contains(&format!("group move ledger {second}: done"))
        }) && entries.iter().any(|e| {
            e.text.contains(&format!("(uid {NOBODY}")) && e.text.contains("group disable ledger: refused")
        }) && entries.iter().all(|e| e.kind == "audit")
    };
    cluster.wait_for("the record on the other node", |_| is_told(&audit(&cluster, second)));
    let usual = told(&cluster.on(second, &["events"]));
    assert!(!usual.contains("(uid 0"), "the record is asked for: {usual}");
    // Tokens, and a takeover by the fence device.
    let token = cluster.order(second, &["token", "--for-minutes", "5"]).trim().to_owned();
    let listed = cluster.order(&first, &["token", "list"]);
    assert!(listed.contains("a node") && listed.contains("open"), "{listed}");
    let id = listed.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    let again = cluster.order(&first, &["token", "revoke", &id]);
    assert!(again.contains("is revoked"), "{again}");
    let before = key_file(&cluster, &first);
    cluster.order(&first, &["key", "rotate"]);
    let changed = || key_file(&cluster, &first) != before && !key_file(&cluster, &first).contains(" open ");
    cluster.wait_for("another key", |s| s.key_change.is_none() && changed());
    cluster.lab.off(second).unwrap();
    cluster.online_on("ledger", &first);
    assert_eq!(
        find(&cluster.status().unwrap(), "ledger").proof,
        "fenced",
        "the device was told its password"
    );
    secrets(&cluster, &first, &token, &before);
}

/// What a user without a role, and a viewer, may.
fn roles(cluster: &Cluster, node: &str) {
    // The users of this machine alone: the file of the host is not touched.
    let script = format!(
        "cp \"$(command -v regent)\" /tmp/regent && chmod 755 /tmp/regent && cp /etc/group /tmp/group && \
         echo 'regent-viewer:x:{VIEWERS}:' >> /tmp/group && chmod 644 /tmp/group && mount --bind /tmp/group /etc/group"
    );
    sh(cluster, node, &script);
    let refused = as_user(cluster, node, "64712", "status");
    assert!(refused.contains("needs the role viewer") && refused.contains("regent access"), "{refused}");
    let status = as_user(cluster, node, VIEWERS, "status");
    assert!(status.contains("ledger") && status.contains("online"), "{status}");
    let refused = as_user(cluster, node, VIEWERS, "group disable ledger --no-wait");
    assert!(refused.contains("needs the role operator") && refused.contains("who is a viewer"), "{refused}");
    let shown = as_user(cluster, node, VIEWERS, "config show");
    assert!(shown.contains("(not shown)") && !shown.contains(PASSWORD), "{shown}");
    assert!(cluster.order(node, &["config", "show"]).contains(PASSWORD), "root sees all of it");
    let access = as_user(cluster, node, VIEWERS, "access");
    assert!(access.contains("regent-operator") && access.contains("are a viewer"), "{access}");
}

/// Looks for the key, the token and the password in every log, journal and output.
fn secrets(cluster: &Cluster, node: &str, token: &str, old_key: &str) {
    let mut secrets = forms(&bytes_of(&key_file(cluster, node)));
    // The key before it was changed: it is in no file any more either.
    secrets.extend(forms(&bytes_of(old_key)));
    // The digits of the token as they stand, without what says where the members are.
    let secret = &token.strip_prefix("rgt1-").unwrap()[..64];
    secrets.extend([PASSWORD.as_bytes().to_vec(), secret.as_bytes().to_vec()]);
    // What commands say, beside what is in files.
    let outputs = cluster.folder.join("outputs");
    fs::create_dir_all(&outputs).unwrap();
    let asked: [&[&str]; 9] = [
        &["status", "--json"],
        &["events", "--verbose", "--last", "2000"],
        &["events", "--verbose", "--last", "2000", "--json"],
        &["events", "--audit", "--verbose"],
        &["evidence"],
        &["key", "status", "--json"],
        &["token", "list", "--json"],
        &["explain", "ledger"],
        &["verify", "--nodes", "--json"],
    ];
    for (at, words) in asked.iter().enumerate() {
        fs::write(outputs.join(at.to_string()), told(&cluster.on(node, words))).unwrap();
    }
    for machine in ["lx4", "lx5", "wit", "client", "fabric"] {
        let console = cluster.lab.folder().console(machine);
        let _not_every_one_has_a_console = fs::copy(console, outputs.join(format!("{machine}.log")));
    }
    fs::copy(cluster.lab.folder().fabric_log(), outputs.join("fabric.log")).unwrap();
    let inside = taken_out(cluster, node);
    let mut found = Vec::new();
    holding(&outputs, &secrets, &mut found);
    holding(&inside, &secrets, &mut found);
    let of_key_or_token: Vec<Vec<u8>> =
        secrets.iter().filter(|secret| secret[..] != *PASSWORD.as_bytes()).cloned().collect();
    let mut worse = Vec::new();
    holding(&outputs, &of_key_or_token, &mut worse);
    holding(&inside, &of_key_or_token, &mut worse);
    assert_eq!(worse, [inside.join("etc/regent/key")], "the key stands in its own file, the token nowhere");
    // The password stands in the configuration: in the log of the cluster, and in its copy.
    let allowed = |path: &PathBuf| {
        let text = path.to_string_lossy();
        text.contains("/var/lib/regent/log/") || text.ends_with(".toml") || text.ends_with("/founding.json")
    };
    let wrong: Vec<&PathBuf> = found.iter().filter(|path| !worse.contains(path) && !allowed(path)).collect();
    assert!(wrong.is_empty(), "the password stands in {wrong:?}");
    // And it would find each of them, in a log as in what a command says.
    for (at, secret) in secrets.iter().enumerate() {
        let planted = outputs.join("planted");
        fs::write(&planted, [b"a line\nkey: ", &secret[..], b" and more\n"].concat()).unwrap();
        let mut found = Vec::new();
        holding(&outputs, &secrets, &mut found);
        assert_eq!(found, [planted], "form {at} is not found");
    }
    modes(cluster, node);
}

fn key_file(cluster: &Cluster, node: &str) -> String {
    sh(cluster, node, "cat /etc/regent/key")
}

/// The bytes of the one key in a key file.
fn bytes_of(file: &str) -> Vec<u8> {
    let (_, key) = file.trim().split_once("regent-key-").unwrap();
    let digits = key.split('-').next().unwrap();
    let bytes: Vec<u8> =
        (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect();
    assert_eq!(bytes.len(), 32, "{}", digits.len());
    bytes
}

/// A copy of everything that Regent keeps on a node.
fn taken_out(cluster: &Cluster, node: &str) -> PathBuf {
    let pack =
        "cd / && tar cf - --ignore-failed-read var/lib/regent run/regent etc/regent 2>/dev/null || true";
    let packed = cluster.lab.output(node, &["sh", "-c", pack]).unwrap().stdout;
    let (inside, archive) = (cluster.folder.join("inside"), cluster.folder.join("inside.tar"));
    fs::create_dir_all(&inside).unwrap();
    fs::write(&archive, packed).unwrap();
    let words = ["xf", archive.to_str().unwrap(), "-C", inside.to_str().unwrap()];
    let done = std::process::Command::new("tar").args(words).output().unwrap();
    assert!(inside.join("var/lib/regent/identity.json").exists(), "{}", told(&done));
    inside
}

/// What is secret is for root alone, wherever it is kept.
fn modes(cluster: &Cluster, node: &str) {
    let open = sh(
        cluster,
        node,
        "find /etc/regent/key /var/lib/regent/configuration.toml /var/lib/regent/founding.json /var/lib/regent/log -perm /077",
    );
    assert!(open.is_empty(), "others may read: {open}");
}
