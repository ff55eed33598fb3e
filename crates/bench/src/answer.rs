//! Who is asked when a group is an address and nothing else: it runs on every node all the time, and answers when a
//! question reaches it, which is where the address is.

use std::net::{SocketAddr, UdpSocket};

use rustix::net::{AddressFamily, SocketType, bind, ipproto, socket, sockopt};

use crate::Result;

/// Answers every datagram to `address` with this machine's name and what was asked, until the process ends. The
/// address need not be here yet.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn serve(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::UDP))?;
    sockopt::set_ip_freebind(&socket, true)?;
    bind(&socket, &address)?;
    let socket = UdpSocket::from(socket);
    let who = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut asked = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut asked) else { continue };
        let mut text = format!("{who} - ").into_bytes();
        text.extend_from_slice(&asked[..length]);
        let _lost_like_any_datagram = socket.send_to(&text, from);
    }
}
