//! That somebody wants a command to end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Doing, Result};

/// Becomes true when somebody wants the process to end, so that it can say what it has found until then. Who wants
/// it twice does not wait for that.
///
/// # Errors
/// When signals cannot be watched.
pub fn wish_to_end() -> Result<Arc<AtomicBool>> {
    let wish = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_default(signal, Arc::clone(&wish)).doing(|| "watch for signals".into())?;
        flag::register(signal, Arc::clone(&wish)).doing(|| "watch for signals".into())?;
    }
    Ok(wish)
}
