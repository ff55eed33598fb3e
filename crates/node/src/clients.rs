//! Taking in clients of a local socket: a thread for each, and so many places.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A socket at `path` in the place of the one that an earlier daemon left there.
///
/// # Errors
/// When what is there cannot be removed, or the socket cannot be made.
pub(crate) fn socket(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// One of the places for clients. It is given back also when who serves its client panics.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets every client of `listener` be served on a thread called `name`, from now on; `serve` is told whether all `places`
/// were taken.
///
/// # Errors
/// When there is no thread to be had for taking them in.
pub(crate) fn take_in(
    listener: UnixListener,
    name: &'static str,
    places: usize,
    serve: impl Fn(&UnixStream, bool) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<()> {
    let accept = move || {
        let taken = Arc::new(AtomicUsize::new(0));
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client for the moment");
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let is_full = taken.fetch_add(1, Ordering::Relaxed) >= places;
            let (place, serve) = (Place(taken.clone()), serve.clone());
            let serve = move || {
                let _place = place;
                if let Err(error) = serve(&stream, is_full) {
                    tracing::debug!(%error, "a client was let go");
                }
            };
            // Without a thread the client sees its connection closed.
            if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(serve) {
                tracing::warn!(%error, "cannot make a thread for a client");
            }
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(accept).map(drop)
}
