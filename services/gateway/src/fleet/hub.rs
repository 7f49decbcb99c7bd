//! The task that runs the fleet while it is watched: lookups, connections, clocks and batches.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use server::gzip::Chain;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::announced::{Announced, Change, Refusal};
use super::cursor::Batch;
use super::membership::FleetMembers;
use super::merge::{Command, Event, Lister, MOST_MEMBERS, Merge, Now, State};
use super::source;
use super::viewer::Viewer;
use crate::routing::table::Route;
use crate::state::Gateway;
use crate::upstream::{self, Origin, PoolSettings, UpstreamTls};

/// Time between two looks at the clocks: states change within it.
const STEP: Duration = Duration::from_millis(250);

/// Steps from one batch to the next: a second, as the members' ticks.
const STEPS_PER_BATCH: u32 = 4;

/// Time without viewers after which the connections are closed: a page that is loaded again finds
/// them open.
const LINGER: Duration = Duration::from_secs(5);

/// Time that a request waits for the first attempts to connect. Longer than a connect may take.
const SETTLE_TIME: Duration = Duration::from_millis(1_500);

/// Viewers at once; each costs a connection and a task.
const MOST_VIEWERS: usize = 10_000;

/// The fleet of this gateway.
pub(crate) struct Fleet {
    members: FleetMembers,
    pools: PoolSettings,
    shared: Mutex<Shared>,
    batches: watch::Sender<Batch>,
    routes: Mutex<HashMap<SocketAddr, MemberRoute>>,
    announced: Mutex<Announced>,
    /// The thread that accepts: a viewer's own may be busy with a large response.
    handle: Handle,
}

/// The route to a single member.
struct MemberRoute {
    route: Arc<Route>,
    is_own: bool,
    /// The route whose policies it has.
    policies: Arc<Route>,
}

struct Shared {
    merge: Merge,
    viewers: usize,
    /// Those of them whose streams are compressed.
    compressed: usize,
    is_running: bool,
    /// The last time that there was a viewer or a request.
    used: Instant,
    /// The members when the fleet was watched last, to find them without connections.
    known: Vec<(SocketAddr, Option<Box<str>>, Lister)>,
}

/// The result of a search for a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    /// It is here, for this reason.
    Member(SocketAddr, Lister),
    /// It was here.
    Gone,
    /// It was never here.
    Unknown,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FleetCounts {
    /// Viewers of the merged stream.
    pub(crate) viewers: usize,
    /// Members by state: up, silent, gone.
    pub(crate) members: [usize; 3],
    /// Listed addresses beyond the members that there may be.
    pub(crate) not_shown: usize,
}

impl Fleet {
    /// The fleet with these members; none if it is off. Must be called inside a runtime.
    pub(crate) fn new(members: &FleetMembers, pools: &PoolSettings) -> Option<Arc<Self>> {
        if *members == FleetMembers::Off {
            return None;
        }
        Some(Arc::new(Self {
            members: members.clone(),
            pools: pools.clone(),
            shared: Mutex::new(Shared {
                merge: Merge::default(),
                viewers: 0,
                compressed: 0,
                is_running: false,
                used: Instant::now(),
                known: Vec::new(),
            }),
            batches: watch::Sender::default(),
            routes: Mutex::default(),
            announced: Mutex::default(),
            handle: Handle::current(),
        }))
    }

    /// A new viewer, compressed or not; none when there are too many.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        gateway: &Arc<Gateway>,
        is_gzip: bool,
    ) -> Option<Viewer> {
        let mut shared = self.shared();
        if shared.viewers >= MOST_VIEWERS {
            return None;
        }
        shared.viewers += 1;
        shared.compressed += usize::from(is_gzip);
        self.start(&mut shared, gateway);
        drop(shared);
        Some(Viewer::new(self, self.batches.subscribe(), is_gzip))
    }

    /// A viewer has gone.
    pub(super) fn leave(&self, is_gzip: bool) {
        let mut shared = self.shared();
        shared.viewers = shared.viewers.saturating_sub(1);
        shared.compressed = shared.compressed.saturating_sub(usize::from(is_gzip));
        shared.used = Instant::now();
    }

    /// The members as JSON, after their first attempts to connect.
    pub(crate) async fn list(self: &Arc<Self>, gateway: &Arc<Gateway>) -> String {
        self.settle(gateway).await;
        let shared = self.shared();
        let members: Vec<_> = shared
            .merge
            .members()
            .map(|(address, instance, state, since)| {
                let instance = instance.map_or_else(String::new, |it| format!(",\"instance\":\"{it}\""));
                let state = state.name();
                format!("{{\"member\":\"{address}\"{instance},\"state\":\"{state}\",\"since_unix_ms\":{since}}}")
            })
            .collect();
        let not_shown = match shared.merge.not_shown() {
            0 => String::new(),
            count => format!(",\"not_shown\":{count}"),
        };
        format!("{{\"members\":[{}]{not_shown}}}\n", members.join(","))
    }

    /// The member with this instance or address.
    pub(crate) async fn find(self: &Arc<Self>, gateway: &Arc<Gateway>, id: &str) -> Found {
        if let Some(found) = self.shared().lookup(id) {
            return found;
        }
        self.settle(gateway).await;
        self.shared().lookup(id).unwrap_or(Found::Unknown)
    }

    /// The route to one member, with the policies of another route.
    pub(crate) fn route(
        &self,
        address: SocketAddr,
        lister: Lister,
        policies: &Arc<Route>,
    ) -> Arc<Route> {
        // What the route's upstreams receive is not for a member that named itself.
        let is_own = self.members == FleetMembers::Route && lister == Lister::Setting;
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(&address)
            && Arc::ptr_eq(&known.policies, policies)
            && known.is_own == is_own
        {
            return known.route.clone();
        }
        if routes.len() >= MOST_MEMBERS {
            routes.clear();
        }
        let route = Arc::new(policies.toward(address, is_own, &self.pools));
        let policies = policies.clone();
        routes.insert(address, MemberRoute { route: route.clone(), is_own, policies });
        route
    }

    /// Takes in an announcement of this address, or its withdrawal, signed at `created`.
    ///
    /// # Errors
    /// It is not newer than the last one, or there are too many members.
    pub(crate) fn announce(
        &self,
        address: SocketAddr,
        is_member: bool,
        created: u64,
    ) -> Result<Change, Refusal> {
        self.announced().update(address, is_member, created, Instant::now())
    }

    /// Counts for metrics.
    pub(crate) fn counts(&self) -> FleetCounts {
        let shared = self.shared();
        let not_shown = shared.merge.not_shown();
        let mut counts = FleetCounts { viewers: shared.viewers, not_shown, members: [0; 3] };
        for (_, _, state, _) in shared.merge.members() {
            counts.members[state as usize] += 1;
        }
        counts
    }

    /// Runs `read` on the merged state.
    pub(super) fn with_merge<T>(&self, read: impl FnOnce(&Merge) -> T) -> T {
        read(&self.shared().merge)
    }

    /// Takes an event of a member in; false when no more are wanted.
    pub(super) fn event(&self, address: SocketAddr, attempt: u64, event: Event) -> bool {
        self.shared().merge.event(address, attempt, event, now())
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // Whole between any two steps.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self) -> MutexGuard<'_, Announced> {
        // Whole between any two steps.
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is known of every member, for a bounded time.
    async fn settle(self: &Arc<Self>, gateway: &Arc<Gateway>) {
        let begun = Instant::now();
        while begun.elapsed() < SETTLE_TIME {
            {
                let mut shared = self.shared();
                self.start(&mut shared, gateway);
                if shared.merge.is_settled() {
                    return;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn start(self: &Arc<Self>, shared: &mut Shared, gateway: &Arc<Gateway>) {
        shared.used = Instant::now();
        if !shared.is_running {
            shared.is_running = true;
            self.handle.spawn(self.clone().run(gateway.clone()));
        }
    }

    /// Runs until there was no viewer for [`LINGER`].
    async fn run(self: Arc<Self>, gateway: Arc<Gateway>) {
        let mut sources = Sources::default();
        let mut lookups = JoinSet::new();
        if let FleetMembers::Origins(origins) = &self.members {
            for origin in origins {
                lookups.spawn(keep_listing(self.clone(), origin.clone(), self.pools.resolve_every));
            }
        }
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut since_batch, mut has_begun) = (0, false);
        let mut chain: Option<Box<Chain>> = None;
        loop {
            steps.tick().await;
            if self.members == FleetMembers::Route {
                let rules = gateway.rules();
                let route = rules.route("/stats");
                let addresses = route.map(|route| route.pool.addresses());
                sources.tls = route.and_then(|route| route.pool.target().tls.clone());
                self.list_members(addresses.unwrap_or_default(), Lister::Setting);
            }
            let announced: Vec<_> = self.announced().addresses(Instant::now()).collect();
            self.list_members(announced, Lister::Announcement);
            let mut shared = self.shared();
            if shared.viewers == 0 && shared.used.elapsed() >= LINGER {
                shared.stop();
                return;
            }
            let commands = shared.merge.step(now());
            since_batch += 1;
            // The first one as soon as there is something to show.
            let is_first = !has_begun && shared.merge.is_settled();
            let mut batch = None;
            if since_batch >= STEPS_PER_BATCH || is_first {
                since_batch = 0;
                if let Some(bytes) = shared.merge.flush(now()) {
                    has_begun = true;
                    batch = Some(Batch { sequence: shared.merge.sequence(), bytes, link: None });
                }
            }
            if shared.compressed == 0 {
                chain = None;
            } else if batch.is_some() {
                chain.get_or_insert_default();
            }
            drop(shared);
            if let Some(mut batch) = batch {
                // Without the lock: a thousand members take milliseconds.
                batch.link = chain.as_mut().and_then(|chain| chain.next(&batch.bytes));
                self.batches.send_replace(batch);
            }
            sources.execute(&commands, &self);
        }
    }

    fn list_members(&self, addresses: Vec<SocketAddr>, lister: Lister) {
        if !self.shared().merge.list(addresses, lister, now()) {
            tracing::warn!(limit = MOST_MEMBERS, "too many fleet members; ignoring the rest");
        }
    }
}

impl Shared {
    /// The member, if it is known or certainly not there.
    fn lookup(&self, id: &str) -> Option<Found> {
        if self.is_running {
            return match self.merge.find(id) {
                Some((_, State::Gone)) => Some(Found::Gone),
                Some((address, _)) => Some(Found::Member(address, self.merge.lister(address))),
                None => self.merge.is_settled().then_some(Found::Unknown),
            };
        }
        let asked: Option<SocketAddr> = id.parse().ok();
        let is_it = |(address, instance, _): &&(SocketAddr, Option<Box<str>>, Lister)| {
            asked == Some(*address) || instance.as_deref() == Some(id)
        };
        let known = self.known.iter().find(is_it);
        known.map(|(address, _, lister)| Found::Member(*address, *lister))
    }

    fn stop(&mut self) {
        let known = self.merge.members().filter(|(_, _, state, _)| *state == State::Up);
        self.known = known
            .map(|(address, instance, ..)| {
                (address, instance.map(Box::from), self.merge.lister(address))
            })
            .collect();
        self.merge.clear();
        self.is_running = false;
    }
}

/// The tasks that follow members.
#[derive(Default)]
struct Sources {
    /// TLS toward the members.
    tls: Option<UpstreamTls>,
    tasks: JoinSet<()>,
    handles: HashMap<SocketAddr, AbortHandle>,
}

impl Sources {
    fn execute(&mut self, commands: &[Command], fleet: &Arc<Fleet>) {
        while self.tasks.try_join_next().is_some() {}
        for command in commands {
            match *command {
                Command::Connect(address, attempt, lister) => {
                    // stats itself has no TLS.
                    let tls = self.tls.clone().filter(|_| lister == Lister::Setting);
                    let follow = source::follow(fleet.clone(), address, tls, attempt);
                    let handle = self.tasks.spawn(follow);
                    if let Some(before) = self.handles.insert(address, handle) {
                        before.abort();
                    }
                }
                Command::Disconnect(address) => {
                    if let Some(handle) = self.handles.remove(&address) {
                        handle.abort();
                    }
                }
            }
        }
        self.handles.retain(|_, handle| !handle.is_finished());
    }
}

/// Looks an origin up again and again.
async fn keep_listing(fleet: Arc<Fleet>, origin: Origin, every: Duration) {
    loop {
        match upstream::resolve(&origin).await {
            Ok(addresses) => fleet.list_members(addresses, Lister::Setting),
            Err(error) => tracing::debug!(name = %origin, %error, "a lookup failed"),
        }
        sleep(every).await;
    }
}

/// The time by both clocks.
fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Now { instant: Instant::now(), unix_ms }
}
