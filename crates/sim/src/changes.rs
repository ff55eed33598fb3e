//! Configurations that change under groups that run: what an operator edits in the file, and applies.

use regent_api::Request;
use regent_model::config::parse;

use crate::rng::Rng;
use crate::sim::Sim;

/// A block of the file, from `[[group]]` to the next.
fn groups(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices("\n[[group]]\n").map(|(at, _)| at).collect();
    starts.push(text.len());
    starts.windows(2).map(|w| &text[w[0]..w[1]]).collect()
}

/// The text with something changed in it, in one of its groups. Nothing of what proves a takeover.
fn changed(text: &str, rng: &mut Rng) -> String {
    let all = groups(text);
    if all.is_empty() {
        return text.to_owned();
    }
    let group = *rng.pick(&all);
    let with = |from: &str, to: &str| text.replacen(group, &group.replace(from, to), 1);
    match rng.below(8) {
        0 => with("address = \"10.77.0.10", "address = \"10.77.0.11"),
        1 => with("device = \"/dev/sd", "device = \"/dev/new-sd"),
        2 => with("-app\"", "-other\""),
        3 => with(" stop\"", " end\""),
        4 => text.replacen(group, "", 1),
        5 => with("nodes  = [\"lx4\", ", "nodes  = ["),
        6 => with("  [[group.application]]", &format!("{MORE}  [[group.application]]")),
        _ => handed_over(text).unwrap_or_else(|| with("/24", "/16")),
    }
}

const MORE: &str = r#"
  [[group.application]]
  name    = "more"
  start   = "/opt/more start"
  stop    = "/opt/more stop"
  status  = "/opt/more status"
  monitor = { interval = "1s", timeout = "1s", failures = 2 }
  start_timeout = "3s"
  stop_timeout  = "2s"

"#;

/// The text with the addresses of two groups in each other's place; none where there are not two.
fn handed_over(text: &str) -> Option<String> {
    let (a, b) = ("address = \"10.77.0.100/24\"", "address = \"10.77.0.101/24\"");
    let both = text.contains(a) && text.contains(b);
    both.then(|| text.replacen(a, "?", 1).replacen(b, a, 1).replacen('?', b, 1))
}

impl Sim {
    /// The file with another group in it, or as it was, is applied.
    pub(crate) fn any_change(&mut self) -> Request {
        let founding = self.file.clone();
        let mut text = founding.clone();
        if self.rng.chance(700) {
            text = changed(&text, &mut self.rng);
        }
        if self.rng.chance(300) {
            text = changed(&text, &mut self.rng);
        }
        let parsed = parse(&text).config;
        let text = if parsed.is_some() { text } else { founding };
        self.knows(&text);
        let dry_run = self.rng.chance(50);
        match self.rng.chance(300) {
            true => Request::ApplyLater { text, dry_run },
            false => Request::Apply { text, dry_run },
        }
    }

    /// The addresses of two groups change places in the file.
    pub(crate) fn addresses_handed_over(&mut self) -> Option<Request> {
        let text = handed_over(&self.file)?;
        self.knows(&text);
        Some(Request::Apply { text, dry_run: false })
    }

    /// What is in a configuration is watched from now on.
    pub(crate) fn knows(&mut self, text: &str) {
        if let Some(config) = parse(text).config {
            self.judge.watch(&config);
            self.known.push(config);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variant;

    #[test]
    fn most_changes_are_good_configurations() {
        for variant in Variant::ALL {
            let mut rng = Rng::new(7);
            let good = |_: &u64| parse(&changed(&variant.config(), &mut rng)).config.is_some();
            let good = (0..100).filter(good).count();
            assert!(good > 50, "{variant}: {good} of 100");
        }
    }
}
