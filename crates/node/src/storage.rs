//! Making the engine's records durable, on a thread of its own.
//!
//! A full disk is waited for: what the guard holds by its lease stays up meanwhile, and the log goes on without this
//! voter as long as the others are a majority.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use regent_engine::Input;
use regent_engine::io::BatchId;
use regent_guard::realtime;
use regent_model::action::Notice;
use regent_store::{FsDisk, Record, Store, StoreError};

use crate::end::End;
use crate::inbox::Inbox;

/// One batch of the engine's.
pub(crate) type Batch = (BatchId, Vec<Record>);

/// Batches that are made durable by one write.
const TOGETHER_MAX: usize = 256;
/// After so long without work there is time to tidy up.
const IDLE: Duration = Duration::from_millis(200);
/// A write that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_millis(250);
/// A full disk is tried again after this.
const ROOM_AGAIN: Duration = Duration::from_millis(250);
/// Tidying up that failed is tried again after this.
const TIDY_AGAIN: Duration = Duration::from_secs(10);
/// The kind of the journal's entries about the disk.
const TOPIC: &str = "state_disk";

/// Takes batches from now on, in order, and answers each when it is durable. A failure of the disk ends the
/// daemon: nobody knows what the disk holds then.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(store: Store<FsDisk>, inbox: Inbox, end: Sender<End>) -> io::Result<Sender<Vec<Batch>>> {
    let (sender, batches) = channel();
    std::thread::Builder::new().name("storage".into()).spawn(move || {
        realtime::elevate(realtime::ENGINE);
        if let Err(error) = serve(store, &batches, &inbox) {
            let _daemon_has_ended = end.send(End::StoreFailed(error.to_string()));
        }
    })?;
    Ok(sender)
}

fn serve(mut store: Store<FsDisk>, batches: &Receiver<Vec<Batch>>, inbox: &Inbox) -> Result<(), StoreError> {
    let mut tidy_at = Instant::now();
    loop {
        let mut work = match batches.recv_timeout(IDLE) {
            Ok(work) => work,
            Err(RecvTimeoutError::Timeout) if Instant::now() < tidy_at => continue,
            Err(RecvTimeoutError::Timeout) => {
                if !tidy(&mut store)? {
                    tidy_at = Instant::now() + TIDY_AGAIN;
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        while work.len() < TOGETHER_MAX {
            let Ok(more) = batches.try_recv() else { break };
            work.extend(more);
        }
        let begun = Instant::now();
        append(&mut store, &work, inbox)?;
        if begun.elapsed() > SLOW {
            tracing::warn!("the disk took {:?} to make {} batches durable", begun.elapsed(), work.len());
        }
        for (id, _) in work {
            inbox.push(Input::Persisted(id));
        }
    }
}

/// Makes these records durable, however long the disk is full.
fn append_when_there_is_room(
    store: &mut Store<FsDisk>,
    records: &[Record],
    inbox: &Inbox,
) -> Result<(), StoreError> {
    let mut waited = false;
    loop {
        match store.append(records) {
            Err(error) if error.is_full() && !error.is_final() => {
                if !std::mem::replace(&mut waited, true) {
                    tracing::error!("{error}");
                    inbox.push(Input::Notice(no_room(&error)));
                }
                std::thread::sleep(ROOM_AGAIN);
            }
            Ok(()) if waited => {
                let text = "there is room on the disk for this node's state again".to_owned();
                tracing::info!("{text}");
                inbox.push(Input::Notice(Notice::Well { topic: TOPIC.to_owned(), text }));
                return Ok(());
            }
            done => return done,
        }
    }
}

fn no_room(error: &StoreError) -> Notice {
    let text = format!(
        "{error}. Until then this node makes nothing durable: it keeps what it owns, and can take over nothing"
    );
    let advice = "df shows what is full; nothing needs to be restarted afterwards".to_owned();
    Notice::Trouble { topic: TOPIC.to_owned(), text, advice }
}

/// All batches by one write, or one by one where together they say what no store takes at once.
fn append(store: &mut Store<FsDisk>, work: &[Batch], inbox: &Inbox) -> Result<(), StoreError> {
    if let [(_, records)] = work {
        return append_when_there_is_room(store, records, inbox);
    }
    let records: Vec<Record> = work.iter().flat_map(|(_, records)| records.iter().cloned()).collect();
    match append_when_there_is_room(store, &records, inbox) {
        Err(StoreError::Refused { .. }) => {
            work.iter().try_for_each(|(_, records)| append_when_there_is_room(store, records, inbox))
        }
        other => other,
    }
}

/// Says whether there is nothing left to tidy up.
fn tidy(store: &mut Store<FsDisk>) -> Result<bool, StoreError> {
    let done = if store.wants_compaction() { store.compact() } else { store.prepare() };
    match done {
        Err(error) if !error.is_final() => {
            tracing::warn!("{error}");
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use regent_model::NodeId;
    use regent_model::ids::ClusterName;
    use regent_store::{Entry, HardState, Identity};

    use super::*;
    use crate::inbox::inbox;
    use crate::testing::Folder;

    fn identity() -> Identity {
        Identity { cluster: ClusterName::new("w").unwrap(), node: NodeId(1) }
    }

    fn batch(number: u64) -> Batch {
        let entry = Entry { index: number, term: 1, data: vec![7; 100], ..Entry::default() };
        let hard = HardState { term: 1, vote: 1, commit: number };
        (BatchId(number), vec![Record::Entry(entry), Record::HardState(hard)])
    }

    #[test]
    fn every_batch_is_answered_once_in_order_and_is_there_after_a_restart() {
        let folder = Folder::new("storage");
        let store = Store::create(FsDisk::open(folder.path()).unwrap(), identity()).unwrap();
        let (inbox, inputs) = inbox();
        let (end, ended) = channel();
        let sender = start(store, inbox, end).unwrap();
        for number in (1..=1_000).step_by(2) {
            sender.send(vec![batch(number), batch(number + 1)]).unwrap();
        }
        for number in 1..=1_000 {
            let input = inputs.next(Duration::from_secs(20)).unwrap();
            assert!(matches!(input, Input::Persisted(BatchId(n)) if n == number), "{input:?}");
        }
        drop(sender);
        let opened = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            Store::open(FsDisk::open(folder.path()).ok()?, identity()).ok()
        });
        let (_, recovered) = opened.unwrap();
        assert_eq!((recovered.entries.len(), recovered.hard_state.commit), (1_000, 1_000));
        assert!(ended.try_recv().is_err());
    }

    #[test]
    fn records_that_contradict_the_state_end_the_daemon() {
        let folder = Folder::new("storage-refused");
        let store = Store::create(FsDisk::open(folder.path()).unwrap(), identity()).unwrap();
        let (inbox, _inputs) = inbox();
        let (end, ended) = channel();
        let sender = start(store, inbox, end).unwrap();
        sender.send(vec![batch(5)]).unwrap();
        let end = ended.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(end, End::StoreFailed(_)), "{end:?}");
    }
}
