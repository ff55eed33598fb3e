//! Whether license servers answer this node.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take to answer: less than whoever asked all nodes waits.
const WITHIN: Duration = Duration::from_secs(2);

/// Each server with whether it takes a connection, or why not. All are tried at once.
pub(crate) fn asked(servers: &[SocketAddr]) -> Vec<(SocketAddr, Result<(), String>)> {
    let tries = servers.iter().map(|server| {
        let server = *server;
        let connect =
            move || TcpStream::connect_timeout(&server, WITHIN).map(drop).map_err(|e| e.to_string());
        (server, std::thread::Builder::new().name("license".into()).spawn(connect))
    });
    let tries: Vec<_> = tries.collect();
    let answer = |thread: std::io::Result<std::thread::JoinHandle<Result<(), String>>>| match thread {
        Ok(thread) => thread.join().unwrap_or_else(|_| Err("it could not be tried".to_owned())),
        Err(error) => Err(format!("no thread to try it: {error}")),
    };
    tries.into_iter().map(|(server, thread)| (server, answer(thread))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_is_off_does_not_hide_the_other() {
        let on = TcpListener::bind("127.0.0.1:0").unwrap();
        let off = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let on = (on.local_addr().unwrap(), on);
        let told = asked(&[off, on.0]);
        assert_eq!((told[0].0, told[1].0), (off, on.0));
        assert!(told[0].1.is_err() && told[1].1.is_ok(), "{told:?}");
    }
}
