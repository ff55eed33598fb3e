//! What this node sees of the instances on itself: looked at again and again while there are any, whenever somebody asks
//! for the registry, and told to the engine, which holds it against what the cluster knows.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regent_agents::Inspector;
use regent_engine::Input;
use regent_model::NodeName;
use regent_model::config::Config;
use regent_model::ids::InstanceName;
use regent_model::instance::InstanceLook;

use crate::inbox::Inbox;
use crate::turns::Turns;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// Whoever asks waits no longer for a look: a disk may hang.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// And no longer for the programs that tell a version: the peer that asks does not wait for ever.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Who looks at instances. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Registrar {
    me: NodeName,
    inspector: Arc<Inspector>,
    inbox: Inbox,
    config: Arc<Mutex<Option<Arc<Config>>>>,
    /// Who looks. When a look hangs, no further one is begun.
    looks: Turns,
    /// Somebody finds out about versions.
    reads: Arc<AtomicBool>,
}

impl Registrar {
    pub(crate) fn new(me: NodeName, inspector: Inspector, inbox: Inbox) -> Self {
        let inspector = Arc::new(inspector);
        let (config, looks, reads) = Default::default();
        Self { me, inspector, inbox, config, looks, reads }
    }

    /// Looks by itself from now on, at every configuration that is sent to it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(self) -> io::Result<Sender<Config>> {
        let (sender, configs) = channel::<Config>();
        let run = move || {
            let Ok(mut config) = configs.recv() else { return };
            loop {
                let any = config.instances().next().is_some();
                *self.config() = any.then(|| Arc::new(config.clone()));
                let next = if any {
                    self.look_now();
                    configs.recv_timeout(EVERY)
                } else {
                    configs.recv().map_err(|_| RecvTimeoutError::Disconnected)
                };
                match next {
                    Ok(newer) => config = newer,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        std::thread::Builder::new().name("registry".into()).spawn(run)?;
        Ok(sender)
    }

    fn config(&self) -> MutexGuard<'_, Option<Arc<Config>>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, and has told the engine when it returns; but for a disk that hangs. What it tells was seen after this was
    /// called: a script that has started an instance asks at once whether it is up.
    pub(crate) fn look_now(&self) {
        let Some(config) = self.config().clone() else { return };
        let own = self.clone();
        let begin = |turn| {
            let look = move || {
                let seen = own.inspector.instances(&config);
                own.inbox.push(Input::Instances(seen));
                drop(turn);
                own.read_what_is_due(&config);
            };
            std::thread::Builder::new().name("registry-look".into()).spawn(look).map(drop)
        };
        if let Err(error) = self.looks.next(LOOK_WITHIN, begin) {
            tracing::warn!(%error, "cannot make a thread to look at the instances");
        }
    }

    /// Programs are run for that, seldom: nobody waits for them, and what is new is told by another look.
    fn read_what_is_due(&self, config: &Config) {
        if self.reads.swap(true, Ordering::AcqRel) {
            return;
        }
        let news = self.inspector.read_versions(&self.me, config, false);
        self.reads.store(false, Ordering::Release);
        if news {
            self.look_now();
        }
    }

    /// Looks for a node that asks, by the configuration that it sends: also at the versions as they are now, where the
    /// programs that tell them end soon.
    pub(crate) fn asked(&self, config: &Config) -> BTreeMap<InstanceName, InstanceLook> {
        let (sender, done) = sync_channel(1);
        let (own, all) = (self.clone(), config.clone());
        let read = move || {
            let _what_is_new_is_told_by_the_look = own.inspector.read_versions(&own.me, &all, true);
            let _nobody_waits_any_more = sender.send(());
        };
        match std::thread::Builder::new().name("registry-versions".into()).spawn(read) {
            Ok(_) => drop(done.recv_timeout(READ_WITHIN)),
            Err(error) => tracing::warn!(%error, "cannot make a thread to read the instances' versions"),
        }
        self.look_now();
        self.inspector.instances(config)
    }

    /// Who knows what the instances' own processes are told.
    pub(crate) fn inspector(&self) -> &Inspector {
        &self.inspector
    }
}
