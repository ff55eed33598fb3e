//! A portal as its clients meet it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::time::Instant;

use regent_api::portal::PortalInstance;
use regent_model::config::InstanceKind;
use regent_model::{Epoch, GroupName, NodeName, ResourceName};

use super::http::{Asked, Refused, parse};
use super::*;

const QUICK: Limits =
    Limits { connections: 3, time: Duration::from_millis(400), again: Duration::from_millis(5) };

fn page(node: &str) -> PortalPage {
    PortalPage {
        cluster: "ward7".into(),
        group: GroupName::new("cacheha1").unwrap(),
        instances: Vec::new(),
        node: NodeName::new(node).unwrap(),
        state: "online".into(),
        epoch: Epoch(7),
        since_ms: 1_795_000_000_000,
        proof: "lease-ended".into(),
        resources: vec![(ResourceName::new("cache").unwrap(), "application".into(), "running".into())],
        config_serial: 3,
        version: "0.1.0".into(),
    }
}

/// A port of this machine that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn portal(port: u16, page: PortalPage) -> Vec<Portal> {
    vec![Portal { address: Ipv4Addr::LOCALHOST.into(), port, page }]
}

struct House {
    setter: Portals,
    port: u16,
    told: Receiver<Notice>,
}

fn house(page: PortalPage) -> House {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let heard = move |notice| lock(&tell).send(notice).unwrap();
    let setter = Portals::with("/var/lib/regent/configuration.toml".into(), heard, QUICK).unwrap();
    let port = free_port();
    setter.set(portal(port, page));
    let house = House { setter, port, told };
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is not open");
        std::thread::sleep(Duration::from_millis(2));
    }
    house
}

impl House {
    fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap()
    }

    /// Sends these bytes and reads until the other side closes. Tried again while it is busy: connections end a little
    /// after their clients.
    fn ask(&self, bytes: &[u8]) -> String {
        loop {
            let mut stream = self.connect();
            let _refused_early = stream.write_all(bytes);
            let mut answer = Vec::new();
            let _reset_after_the_answer = stream.read_to_end(&mut answer);
            let answer = String::from_utf8(answer).unwrap();
            if !answer.contains(" 503 ") && !answer.is_empty() {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }
}

#[test]
fn it_says_who_has_the_address_as_a_page_and_as_json() {
    let house = house(page("lx4"));
    let answer = house.get("/");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"), "{answer}");
    for needle in [
        "<title>cacheha1 on lx4</title>",
        "7 since 2026-11-18 11:06 UTC, by proof: lease-ended",
        "About</h2>",
        "/var/lib/regent/configuration.toml, number 3 of this cluster",
    ] {
        assert!(answer.contains(needle), "{needle} is not in\n{answer}");
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    let answer = house.get("/status.json?x=1");
    let value: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        (&value["node"], &value["epoch"], &value["state"]),
        (&"lx4".into(), &7.into(), &"online".into())
    );
    assert_eq!(value["about"]["configuration"], "/var/lib/regent/configuration.toml");
    // What the engine says anew is said at once, without a new door.
    let mut moved = page("lx5");
    let (directory, configuration) = ("/storage2/cache".into(), Some("/storage2/cache/cache.cpf".into()));
    moved.instances =
        vec![PortalInstance { name: "HAL".into(), kind: InstanceKind::Cache, directory, configuration }];
    house.setter.set(portal(house.port, moved));
    let answer = house.get("/");
    assert!(answer.contains("<title>cacheha1 (HAL) on lx5</title>"), "{answer}");
    assert!(answer.contains("/storage2/cache/cache.cpf"), "{answer}");
}

#[test]
fn the_page_and_its_twin_for_programs() {
    let mut page = page("lx4");
    page.instances = vec![
        PortalInstance {
            name: "HAL".into(),
            kind: InstanceKind::Gtm,
            directory: "/storage2/hal".into(),
            configuration: Some("/storage2/hal/mumps.gld".into()),
        },
        PortalInstance {
            name: "<DOS>".into(),
            kind: InstanceKind::Cache,
            directory: "/storage2/c&d".into(),
            configuration: Some("/storage2/c&d/cache.cpf".into()),
        },
    ];
    let address = ResourceName::new("10.77.0.100").unwrap();
    page.resources.insert(0, (address, "address".into(), "up".into()));
    let pages = page::answer_for(&page, "/var/lib/regent/configuration.toml".as_ref());
    insta::assert_snapshot!("page", pages.html);
    let value: serde_json::Value = serde_json::from_str(&pages.json).unwrap();
    insta::assert_snapshot!("programs", serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn only_get_and_head_are_answered_and_everything_else_is_told_why() {
    let house = house(page("lx4"));
    let head = house.ask(b"HEAD / HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (request, status, word) in [
        (&b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"[..], "405 ", "Allow: GET, HEAD"),
        (b"DELETE / HTTP/1.0\r\n\r\n", "405 ", "GET or HEAD"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", "404 ", "/status.json"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", "404 ", "/status.json"),
        (b"GET / HTTP/2\r\n\r\n", "505 ", "HTTP/1.1"),
        (b"hello\r\n\r\n", "400 ", "no request"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", "400 ", "no request"),
        (b"GET  / HTTP/1.1\r\n\r\n", "400 ", "no request"),
        (b"get / HTTP/1.1\r\n\r\n", "400 ", "no request"),
        (long.as_bytes(), "431 ", "too long"),
    ] {
        let answer = house.ask(request);
        let line = String::from_utf8_lossy(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
        assert!(answer.contains(word), "{line}: {answer}");
    }
}

#[test]
fn whoever_takes_too_long_or_comes_in_a_crowd_is_let_go_and_others_are_served() {
    let house = house(page("lx4"));
    let mut slow = house.connect();
    let begun = Instant::now();
    slow.write_all(b"GET / HT").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    // Silent ones take the places for as long as they may.
    let crowd: Vec<TcpStream> = (0..8).map(|_| house.connect()).collect();
    let turned_away = crowd.iter().any(|mut stream| {
        let mut answer = String::new();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _still_waits = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 503 ")
    });
    assert!(turned_away);
    assert!(house.get("/").contains("cacheha1 on lx4"), "places become free");
}

#[test]
fn what_it_shows_is_never_taken_for_markup() {
    let mut evil = page("lx4");
    evil.state = "<script>alert('x')</script>".into();
    evil.cluster = "\"&amp;\u{0}".into();
    let answer = house(evil).get("/");
    assert!(!answer.contains("<script>") && answer.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{answer}");
    assert!(answer.contains("&quot;&amp;amp; "), "{answer}");
}

#[test]
fn when_its_address_goes_nobody_is_served_any_more_and_it_opens_again_at_once() {
    let house = house(page("lx4"));
    let mut idle = house.connect();
    idle.write_all(b"GET /").unwrap();
    // It is being served when it has been accepted.
    let begun = Instant::now();
    while lock(&lock(&house.setter.doors).values().next().unwrap().state).connections.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
    house.setter.set(Vec::new());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, house.port)).is_err(), "nobody listens any more");
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(idle.read(&mut [0; 16]), Ok(0) | Err(_)), "it is cut, not left to wait");
    let _it_is_closed = idle.shutdown(Shutdown::Both);
    house.setter.set(portal(house.port, page("lx4")));
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, house.port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(house.get("/").contains("lx4"));
}

#[test]
fn a_port_that_somebody_else_has_is_told_and_taken_when_it_is_free() {
    let house = house(page("lx4"));
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    house.setter.set(portal(port, page("lx4")));
    let told = house.told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(
        matches!(&told, Notice::Trouble { text, advice, .. } if text.contains("in use") && advice.contains("`portal`")),
        "{told:?}"
    );
    drop(other);
    assert!(matches!(house.told.recv_timeout(Duration::from_secs(10)), Ok(Notice::Well { .. })));
    assert!(House { port, ..house }.get("/").contains("lx4"));
}

#[test]
fn a_request_line_is_read_or_refused() {
    let asked = |head_only, path: &str| Ok(Asked { head_only, path: path.into() });
    assert_eq!(parse(b"GET /a?b HTTP/1.0\r\n\r\n"), asked(false, "/a"));
    assert_eq!(parse(b"HEAD / HTTP/1.1\n\n"), asked(true, "/"));
    assert_eq!(parse(b""), Err(Refused::Malformed));
    assert_eq!(parse(b"GET http://x/ HTTP/1.1\r\n\r\n"), Err(Refused::Malformed));
}
