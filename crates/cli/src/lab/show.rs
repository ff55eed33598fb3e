//! What a lab looks like.

use regent_lab::{Direction, DiskState, Lab, LabStatus, MachineStatus, Power, Role};
use serde_json::{Value, json};

use crate::client;
use crate::paint::{Cell, Paint, Tone, table};
use crate::reach;
use crate::screen::Screen;
use crate::status;
use crate::trouble::Result;

/// `regent lab status`: the machines, and the cluster as one of them sees it.
///
/// # Errors
/// When the lab does not answer.
pub(super) fn status(lab: &Lab, screen: &Screen) -> Result<()> {
    let machines = lab.status()?;
    let cluster = reach::in_lab(&machines, None).and_then(|c| client::status(&c));
    screen.value(&json!({
        "lab": machines_json(&machines),
        "cluster": cluster.as_ref().map_or(Value::Null, status::status_json),
    }))?;
    screen.say(&self::machines(&machines, screen.paint))?;
    match &cluster {
        Ok(cluster) => screen.say(&format!("\n{}", status::render(cluster, screen.paint))),
        Err(trouble) => screen.say(&format!("\n{trouble}\n")),
    }
}

/// `regent lab list`.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn list(screen: &Screen) -> Result<()> {
    let labs = regent_lab::all_labs();
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for name in &labs {
        let found = Lab::attach(name).and_then(|lab| lab.status());
        let (tone, words) = match &found {
            Ok(status) => {
                let on = status.machines.iter().filter(|m| m.power == Power::On).count();
                (Tone::Plain, format!("{on} of {} machines are on", status.machines.len()))
            }
            Err(error) => (Tone::Bad, error.to_string()),
        };
        values.push(json!({ "name": name, "answers": found.is_ok(), "state": words }));
        rows.push(vec![Cell::new(Tone::Strong, name), Cell::new(tone, words)]);
    }
    screen.value(&json!(values))?;
    if rows.is_empty() {
        return screen.say("there is no lab on this machine\n  next: regent lab up\n");
    }
    screen.say(&table(&rows, "", screen.paint))
}

/// The machines as a table.
#[must_use]
pub fn machines(status: &LabStatus, paint: Paint) -> String {
    let networks = status.machines.iter().map(|m| m.networks.len()).max().unwrap_or(0);
    let mut title = vec!["MACHINE".to_owned(), "ROLE".into(), "POWER".into(), "DISK".into()];
    title.extend((1..=networks).map(|n| format!("NETWORK {n}")));
    title.push(String::new());
    let mut rows: Vec<Vec<Cell>> = vec![title.iter().map(|t| Cell::new(Tone::Dim, t)).collect()];
    rows.extend(status.machines.iter().map(|m| machine_row(m, networks)));
    let name = paint.tone(Tone::Strong, &status.name);
    format!("lab {name} in {}\n{}", status.folder.display(), table(&rows, "", paint))
}

fn machine_row(machine: &MachineStatus, networks: usize) -> Vec<Cell> {
    let role = match machine.role {
        Role::Node => "node",
        Role::Witness => "witness",
        Role::Client => "client",
    };
    let power = match (machine.power, machine.paused) {
        (Power::On, false) => Cell::new(Tone::Good, "on"),
        (Power::On, true) => Cell::new(Tone::Warning, "frozen"),
        (Power::Off, _) => Cell::new(Tone::Bad, "off"),
        (Power::Booting, _) => Cell::new(Tone::Warning, "booting"),
        (Power::Dying, _) => Cell::new(Tone::Bad, "going off"),
    };
    let disk = match machine.disk {
        None => Cell::plain("-"),
        Some(DiskState::Ok) => Cell::plain("ok"),
        Some(state) => Cell::new(Tone::Warning, state.to_string()),
    };
    let mut row = vec![Cell::new(Tone::Strong, &machine.name), Cell::plain(role), power, disk];
    for at in 0..networks {
        row.push(machine.networks.iter().find(|n| n.network == at).map_or_else(
            || Cell::plain("-"),
            |network| {
                let first = network.addresses.first().map(|a| a.address.to_string()).unwrap_or_default();
                match network.cut {
                    None if network.loses > 0 => {
                        Cell::new(Tone::Warning, format!("{first} loses {} %", network.loses))
                    }
                    None => Cell::plain(first),
                    Some(direction) => Cell::new(Tone::Bad, format!("{first} {}", cut_words(direction))),
                }
            },
        ));
    }
    let further = machine.networks.iter().filter(|n| n.interface != format!("eth{}", n.network));
    let cut = further.filter_map(|n| Some(format!("{} {}", n.interface, cut_words(n.cut?))));
    row.push(Cell::new(Tone::Bad, cut.chain(machine.trouble.clone()).collect::<Vec<_>>().join(", ")));
    row
}

fn cut_words(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "CUT",
        Direction::In => "CUT inwards",
        Direction::Out => "CUT outwards",
        Direction::Cable => "CABLE PULLED",
    }
}

/// The same for programs.
#[must_use]
pub fn machines_json(status: &LabStatus) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}
