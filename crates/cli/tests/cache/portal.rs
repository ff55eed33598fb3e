//! The page of a service address, as a client has it: by plain HTTP, and in a real browser where there is one.

use std::io::Write as _;

use regent_lab::CLIENT;

use crate::cluster::{Cluster, told};
use crate::machine::python;

/// The browser, where it is installed: it has no place among what the tests need.
const BROWSER: &str = "/usr/bin/chromium";

/// What the page of `group` says of `node` and of its instance in `directory`.
pub(crate) fn page_names(cluster: &Cluster, address: &str, group: &str, node: &str, directory: &str) {
    let title = format!("{group} ({}) on {node}", group.to_uppercase());
    let url = format!("http://{address}:8080/");
    let read = format!(
        "import urllib.request\ntry:\n  print(urllib.request.urlopen('{url}', timeout=5).read().decode())\n\
         except OSError:\n  pass"
    );
    cluster.wait_for(&format!("the portal to name {node}"), |_| {
        python(cluster, CLIENT, &read, "").contains(&format!("<title>{title}</title>"))
    });
    let about = [
        "<h2 id=\"about\">About</h2>".to_owned(),
        "/var/lib/regent/configuration.toml".to_owned(),
        format!("<th>Its directory</th><td>{directory}</td>"),
        format!("<th>Its global directory</th><td>{directory}/mumps.gld</td>"),
    ];
    let page = python(cluster, CLIENT, &read, "");
    assert!(about.iter().all(|part| page.contains(part)), "{page}");
    match std::path::Path::new(BROWSER).exists() {
        true => {
            let page = browsed(cluster, &url);
            assert!(page.contains(&format!("<title>{title}</title>")), "{page}");
            assert!(page.contains(&format!("<h1>{title}</h1>")), "{page}");
            assert!(about.iter().all(|part| page.contains(part)), "{page}");
        }
        // To be seen also where the test passes.
        false => {
            let said =
                format!("{BROWSER} is not installed: the portal's page was read by plain HTTP alone\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
        }
    }
}

/// The page as the browser has understood it.
fn browsed(cluster: &Cluster, url: &str) -> String {
    let browser = "exec timeout 120 \"$1\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                   --user-data-dir=/tmp/browser --dump-dom \"$2\"";
    let output = cluster.lab.output(CLIENT, &["sh", "-c", browser, "sh", BROWSER, url]).unwrap();
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}
