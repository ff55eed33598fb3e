//! The record of what is done by hand: it begins before the first device is asked for anything.

use regent_api::{HandAct, HandEnd, Request, roles};
use regent_model::NodeName;

use crate::client::{self, Asks};
use crate::orders::who;
use crate::screen::Screen;
use crate::trouble::Result;

/// Does it, with an entry in the journal before and after. What cannot be recorded is not begun.
///
/// # Errors
/// When the daemon does not take the record, or it fails.
pub(super) fn on_record(
    asks: &dyn Asks,
    screen: &Screen,
    (act, node): (HandAct, &NodeName),
    work: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let who = who(|variable| std::env::var(variable).ok());
    let note = |ended: Option<HandEnd>| {
        client::order(asks, &Request::FenceByHand { node: node.to_string(), act, who: who.clone(), ended })
    };
    note(None)?;
    let result = work();
    let ended = match &result {
        Ok(words) => HandEnd { done: true, words: roles::plain_words(words) },
        Err(trouble) => HandEnd { done: false, words: roles::plain_words(&trouble.what) },
    };
    // What was done is done, whether its end can be noted or not.
    if let Err(trouble) = note(Some(ended)) {
        screen.say(&format!("its end stands in no journal: {}\n", trouble.what))?;
    }
    result
}
