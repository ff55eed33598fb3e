//! The ledger's server.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::store::Store;
use crate::error::{Doing, Result};

/// A ledger that is open and bound to its address.
pub struct Server {
    store: Arc<Mutex<Store>>,
    tcp: TcpListener,
    udp: UdpSocket,
    who: String,
    torn: u64,
}

impl Server {
    /// Opens the ledger in `file` and binds to `address`. `node` and `epoch` are what it answers with.
    ///
    /// # Errors
    /// When the file is damaged or the address is not there.
    pub fn open(file: &Path, address: SocketAddr, node: &str, epoch: &str) -> Result<Self> {
        let (store, torn) = Store::open(file)?;
        let tcp = TcpListener::bind(address).doing(|| format!("listen on {address} (TCP)"))?;
        let udp = UdpSocket::bind(address).doing(|| format!("listen on {address} (UDP)"))?;
        let who = format!("{node} {epoch}");
        Ok(Self { store: Arc::new(Mutex::new(store)), tcp, udp, who, torn })
    }

    /// How many numbers it found, and how many bytes of a torn record it cut off.
    #[must_use]
    pub fn found(&self) -> (usize, u64) {
        (self.store.lock().unwrap_or_else(PoisonError::into_inner).numbers.len(), self.torn)
    }

    /// Serves until the process ends, or the disk fails: a ledger that cannot keep its word says nothing more.
    ///
    /// # Errors
    /// What the disk said.
    pub fn serve(self) -> Result<()> {
        let (fail, failed) = std::sync::mpsc::channel();
        let (udp, who) = (self.udp, self.who.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        thread("answer").spawn(move || answer(&udp, &who)).doing(|| "start a thread".into())?;
        let node = self.who.split(' ').next().unwrap_or_default().to_owned();
        let (tcp, store) = (self.tcp, self.store);
        thread("accept")
            .spawn(move || {
                for stream in tcp.incoming().flatten() {
                    let (store, node, fail) = (Arc::clone(&store), node.clone(), fail.clone());
                    let _refused_when_there_are_too_many = thread("client").spawn(move || {
                        if let Err(error) = converse(&stream, &store, &node) {
                            let _ends_already = fail.send(error);
                        }
                    });
                }
            })
            .doing(|| "start a thread".into())?;
        match failed.recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

/// Answers a probe with who is here and what it asked.
fn answer(udp: &UdpSocket, who: &str) {
    let mut asked = [0; 512];
    loop {
        let Ok((length, from)) = udp.recv_from(&mut asked) else { continue };
        let mut text = format!("{who} ").into_bytes();
        text.extend_from_slice(&asked[..length]);
        let _lost_like_any_datagram = udp.send_to(&text, from);
    }
}

/// Talks with one client. An error is the disk's; a client that goes away is none.
fn converse(stream: &TcpStream, store: &Mutex<Store>, node: &str) -> Result<()> {
    let _only_slower = stream.set_nodelay(true);
    let mut writer = stream;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return Ok(()) };
        let reply = match line.split_once(' ').unwrap_or((&line, "")) {
            ("PUT", number) => match number.parse() {
                Ok(number) => {
                    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                    store.put(number).doing(|| format!("keep the number {number}"))?;
                    format!("OK {number} {node}\n")
                }
                Err(_) => "ERROR a number is needed, as in: PUT 7\n".to_owned(),
            },
            ("COUNT", _) => {
                let store = store.lock().unwrap_or_else(PoisonError::into_inner);
                format!("COUNT {} {}\n", store.numbers.len(), store.numbers.last().unwrap_or(&0))
            }
            ("LIST", _) => {
                let numbers = store.lock().unwrap_or_else(PoisonError::into_inner).numbers.clone();
                let mut text: String = numbers.iter().map(|n| format!("{n}\n")).collect();
                text.push_str("END\n");
                text
            }
            _ => "ERROR use PUT n, COUNT or LIST\n".to_owned(),
        };
        if writer.write_all(reply.as_bytes()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Opens the ledger and serves it, with the node and epoch that Regent gives to its applications.
///
/// # Errors
/// See [`Server::open`] and [`Server::serve`].
pub fn serve_ledger(file: &Path, address: SocketAddr) -> Result<()> {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let node = std::env::var("REGENT_NODE").ok().filter(|n| !n.is_empty()).unwrap_or_else(host);
    let epoch =
        std::env::var("REGENT_EPOCH").ok().filter(|e| !e.is_empty()).unwrap_or_else(|| "-".to_owned());
    let epoch = epoch.replace(' ', "");
    Server::open(file, address, &node, &epoch)?.serve()
}
