//! Whether this node could do what the configuration may ask of it: looked at when it begins, at every new
//! configuration, and from time to time; told as trouble of the node.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use regent_agents::Inspector;
use regent_engine::Input;
use regent_model::NodeName;
use regent_model::action::Notice;
use regent_model::config::Config;

use crate::inbox::Inbox;

/// A fence device that has stopped to answer is to be noticed before it is needed.
const AGAIN: Duration = Duration::from_secs(300);
/// What was in doubt may have been mended.
const AGAIN_IN_DOUBT: Duration = Duration::from_secs(30);
const TOPIC: &str = "not_ready";

/// Looks on a thread of its own at every configuration that is sent to it.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(inspector: Inspector, me: NodeName, inbox: Inbox) -> io::Result<Sender<Config>> {
    let (sender, configs) = channel();
    let look = move |config: &Config| inspector.doubts(&me, config);
    let tell = move |notice| inbox.push(Input::Notice(notice));
    std::thread::Builder::new()
        .name("inspection".into())
        .spawn(move || inspect(&configs, look, tell, (AGAIN, AGAIN_IN_DOUBT)))?;
    Ok(sender)
}

fn inspect(
    configs: &Receiver<Config>,
    look: impl Fn(&Config) -> Vec<String>,
    tell: impl Fn(Notice),
    (again, again_in_doubt): (Duration, Duration),
) {
    let Ok(mut config) = configs.recv() else { return };
    loop {
        while let Ok(newer) = configs.try_recv() {
            config = newer;
        }
        let doubts = look(&config);
        let wait = if doubts.is_empty() { again } else { again_in_doubt };
        tell(as_notice(&doubts));
        match configs.recv_timeout(wait) {
            Ok(newer) => config = newer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn as_notice(doubts: &[String]) -> Notice {
    let topic = TOPIC.to_owned();
    if doubts.is_empty() {
        let text = "this node has everything again that the configuration may ask of it".to_owned();
        return Notice::Well { topic, text };
    }
    let text = format!("this node could not do everything that may be asked of it: {}", doubts.join("; "));
    let advice = "mend it before it is needed; it is looked at again by itself".to_owned();
    Notice::Trouble { topic, text, advice }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_configuration_is_looked_at_and_doubts_again_until_they_are_gone() {
        let (sender, configs) = channel();
        let (told, notices) = channel();
        let answers = Mutex::new(vec![vec![], vec!["no agent".to_owned()], vec!["no agent".to_owned()]]);
        let look = move |_: &Config| answers.lock().unwrap().pop().unwrap_or_default();
        let tell = move |notice| told.send(notice).unwrap();
        let text = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n";
        let config = regent_model::config::parse(text).config.unwrap();
        let times = (Duration::from_secs(3600), Duration::from_millis(5));
        let thread = std::thread::spawn(move || inspect(&configs, look, tell, times));
        sender.send(config.clone()).unwrap();
        let next = || notices.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(next(), Notice::Trouble { text, .. } if text.contains("no agent")));
        assert!(matches!(next(), Notice::Trouble { .. }), "looked at again by itself");
        assert!(matches!(next(), Notice::Well { .. }));
        sender.send(config).unwrap();
        assert!(matches!(next(), Notice::Well { .. }), "a new configuration is looked at");
        drop(sender);
        thread.join().unwrap();
    }
}
