//! Fleet task: lookups, connections, timers and batches, while there are viewers.

mod routes;
mod source;
mod viewer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use server::gzip::Chain;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::routes::Routes;
use self::source::Target;
pub(crate) use self::viewer::Viewer;
use super::announced::{Announced, Change, Refusal};
use super::block::State;
use super::cursor::Batch;
use super::membership::{FleetMembers, Listed};
use super::merge::{Command, Event, Lister, MAX_MEMBERS, Merge, Now};
use super::name::Name;
use crate::lock::lock;
use crate::request::forwarded::via_of;
use crate::request::identifier::new_bits;
use crate::routing::table::CurrentRoutes;
use crate::routing::table::Route;
use crate::upstream::{self, PoolSettings, UpstreamTls};

/// Interval of the timers: states change within it.
const STEP: Duration = Duration::from_millis(250);

/// Steps per batch: one second, like the interval of the members.
const STEPS_PER_BATCH: u32 = 4;

/// Time after the last viewer until the connections close: a page reload finds them open.
const LINGER: Duration = Duration::from_secs(5);

/// Time that a request waits for the first connection attempts. Longer than the connect timeout.
const SETTLE_TIME: Duration = Duration::from_millis(1_500);

/// The same with gateways among the members, which wait themselves.
const TREE_SETTLE_TIME: Duration = Duration::from_secs(4);

/// Maximum gateways in one request; a tree does not have more.
const MAX_PARENTS: usize = 64;

/// Time after which a connection whose `Via` does not list all current parents is reopened. This
/// detects a loop that was created from both sides at the same time; the limit prevents viewers
/// from causing it more often.
const RENAME_AFTER: Duration = Duration::from_secs(30);

/// Maximum concurrent viewers; each one costs a connection and a task.
const MAX_VIEWERS: usize = 10_000;

/// Fleet of this gateway.
pub(crate) struct Fleet {
    /// Random id that identifies two addresses of this gateway as one.
    instance: String,
    members: FleetMembers,
    pools: PoolSettings,
    shared: Mutex<Shared>,
    batches: watch::Sender<Batch>,
    /// Routes to single members.
    routes: Mutex<Routes>,
    announced: Mutex<Announced>,
    /// Runtime of the accepting thread: a viewer's worker may be busy with a large response.
    handle: Handle,
}

struct Shared {
    merge: Merge,
    viewers: usize,
    /// Number of viewers with compressed streams.
    compressed: usize,
    is_running: bool,
    /// Time of the last viewer or request.
    last_used: Instant,
    /// Members at the end of the last run, to find them without connections.
    last_members: Vec<(Name, Option<Box<str>>, Lister)>,
    /// Gateways that receive the stream, once per viewer.
    parents: Vec<u32>,
}

/// Result of a search for a member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// A current member, and the source that lists it.
    Member(Name, Lister),
    /// A former member.
    Gone,
    /// An unknown member.
    Unknown,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FleetCounts {
    /// Viewers of the merged stream.
    pub(crate) viewers: usize,
    /// Members by state: up, silent, gone.
    pub(crate) members: [usize; 3],
    /// Listed addresses beyond the maximum number of members.
    pub(crate) not_shown: usize,
}

impl Fleet {
    /// Creates the fleet; `None` if it is disabled. Must be called inside a runtime.
    pub(crate) fn new(members: &FleetMembers, pools: &PoolSettings) -> Option<Arc<Self>> {
        if *members == FleetMembers::Off {
            return None;
        }
        let [number, _] = new_bits();
        Some(Arc::new(Self {
            instance: format!("fleet-{number:016x}"),
            members: members.clone(),
            pools: pools.clone(),
            shared: Mutex::new(Shared {
                merge: Merge::default(),
                viewers: 0,
                compressed: 0,
                is_running: false,
                last_used: Instant::now(),
                last_members: Vec::new(),
                parents: Vec::new(),
            }),
            batches: watch::Sender::default(),
            routes: Mutex::default(),
            announced: Mutex::default(),
            handle: Handle::current(),
        }))
    }

    /// Adds a viewer, optionally compressed, that feeds these gateways; `None` at the maximum
    /// number of viewers.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        routes: &Arc<CurrentRoutes>,
        is_gzip: bool,
        parents: Vec<u32>,
    ) -> Option<Viewer> {
        let mut shared = lock(&self.shared);
        if shared.viewers >= MAX_VIEWERS {
            return None;
        }
        shared.viewers += 1;
        shared.compressed += usize::from(is_gzip);
        shared.parents.extend_from_slice(&parents);
        self.start(&mut shared, routes);
        drop(shared);
        Some(Viewer::new(self, self.batches.subscribe(), is_gzip, parents))
    }

    /// Removes a viewer.
    pub(super) fn leave(&self, is_gzip: bool, parents: &[u32]) {
        let mut shared = lock(&self.shared);
        for parent in parents {
            if let Some(index) = shared.parents.iter().position(|it| it == parent) {
                shared.parents.swap_remove(index);
            }
        }
        shared.viewers = shared.viewers.saturating_sub(1);
        shared.compressed = shared.compressed.saturating_sub(usize::from(is_gzip));
        shared.last_used = Instant::now();
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Members as JSON, after their first connection attempts.
    pub(crate) async fn list(self: &Arc<Self>, routes: &Arc<CurrentRoutes>) -> String {
        self.settle(routes).await;
        let shared = lock(&self.shared);
        let members: Vec<_> = shared
            .merge
            .members()
            .map(|(name, instance, state, since)| {
                let instance = instance.map_or_else(String::new, |it| format!(",\"instance\":\"{it}\""));
                let state = state.name();
                format!("{{\"member\":\"{name}\"{instance},\"state\":\"{state}\",\"since_unix_ms\":{since}}}")
            })
            .collect();
        let not_shown = match shared.merge.not_shown() {
            0 => String::new(),
            count => format!(",\"not_shown\":{count}"),
        };
        format!("{{\"members\":[{}]{not_shown}}}\n", members.join(","))
    }

    /// Finds the member with this instance or name.
    pub(crate) async fn find(self: &Arc<Self>, routes: &Arc<CurrentRoutes>, id: &str) -> Found {
        if let Some(found) = lock(&self.shared).lookup(id) {
            return found;
        }
        self.settle(routes).await;
        lock(&self.shared).lookup(id).unwrap_or(Found::Unknown)
    }

    /// Route to one member, with the policies of another route.
    pub(crate) fn route(
        &self,
        address: SocketAddr,
        lister: Lister,
        policies: &Arc<Route>,
    ) -> Arc<Route> {
        // A member that announced itself must not receive the credentials for the route's
        // upstreams.
        let is_own = self.members == FleetMembers::Route && lister == Lister::Setting;
        lock(&self.routes).member(address, is_own, policies, &self.pools)
    }

    /// Processes an announcement of this address or its withdrawal, signed at `created`. Returns
    /// the effect, and the whole seconds for which the address stays a member.
    ///
    /// # Errors
    /// Returns an error if it would revoke a newer one, or there are too many members.
    pub(crate) fn announce(
        &self,
        address: SocketAddr,
        is_member: bool,
        created: u64,
    ) -> Result<(Change, u64), Refusal> {
        let (mut announced, now) = (lock(&self.announced), Instant::now());
        let change = announced.update(address, is_member, created, now)?;
        Ok((change, announced.kept_seconds(address, now)))
    }

    /// Counts for metrics.
    pub(crate) fn counts(&self) -> FleetCounts {
        let shared = lock(&self.shared);
        let not_shown = shared.merge.not_shown();
        let mut counts = FleetCounts { viewers: shared.viewers, not_shown, members: [0; 3] };
        for (_, _, state, _) in shared.merge.members() {
            counts.members[state as usize] += 1;
        }
        counts
    }

    /// Runs `read` on the merged state.
    pub(super) fn with_merge<T>(&self, read: impl FnOnce(&Merge) -> T) -> T {
        read(&lock(&self.shared).merge)
    }

    /// Processes an event of a member; returns false if the attempt is obsolete.
    pub(super) fn event(&self, address: SocketAddr, attempt: u64, event: Event) -> bool {
        lock(&self.shared).merge.event(address, attempt, event, now())
    }

    /// Waits until the state of every member is known, for a limited time.
    async fn settle(self: &Arc<Self>, routes: &Arc<CurrentRoutes>) {
        let begun = Instant::now();
        let time = if self.has_gateways() { TREE_SETTLE_TIME } else { SETTLE_TIME };
        while begun.elapsed() < time {
            {
                let mut shared = lock(&self.shared);
                self.start(&mut shared, routes);
                if shared.merge.is_settled() {
                    return;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn has_gateways(&self) -> bool {
        matches!(&self.members, FleetMembers::Listed(all) if all.iter().any(|it| it.is_gateway))
    }

    fn start(self: &Arc<Self>, shared: &mut Shared, routes: &Arc<CurrentRoutes>) {
        shared.last_used = Instant::now();
        if !shared.is_running {
            shared.is_running = true;
            self.handle.spawn(self.clone().run(routes.clone()));
        }
    }

    /// Runs until there has been no viewer for [`LINGER`].
    async fn run(self: Arc<Self>, routes: Arc<CurrentRoutes>) {
        let mut sources = Sources::default();
        let mut lookups = JoinSet::new();
        if let FleetMembers::Listed(all) = &self.members {
            for (place, listed) in all.iter().enumerate() {
                let every = self.pools.resolve_every;
                lookups.spawn(run_lookups(self.clone(), listed.clone(), place, every));
            }
        }
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut since_batch, mut has_begun) = (0, false);
        let mut chain: Option<Box<Chain>> = None;
        loop {
            steps.tick().await;
            if self.members == FleetMembers::Route {
                let rules = routes.get();
                let route = rules.route("/stats");
                let addresses = route.map(|route| route.pool.addresses());
                sources.tls = route.and_then(|route| route.pool.target().tls.clone());
                sources.host = route.and_then(|route| route.attributes.host.clone());
                self.list_members(addresses.unwrap_or_default(), Lister::Setting);
            }
            let announced: Vec<_> = lock(&self.announced).addresses(Instant::now()).collect();
            self.list_members(announced, Lister::Announcement);
            let mut shared = lock(&self.shared);
            if shared.viewers == 0 && shared.last_used.elapsed() >= LINGER {
                shared.stop();
                return;
            }
            // There are few, and sorting them would add more code than it saves time.
            let mut parents = Vec::new();
            for parent in &shared.parents {
                if parents.len() < MAX_PARENTS && !parents.contains(parent) {
                    parents.push(*parent);
                }
            }
            for address in sources.unnamed(&parents) {
                shared.merge.reopen(address, now());
            }
            let commands = shared.merge.step(now());
            since_batch += 1;
            // The first batch is sent as soon as there is something to show.
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
                // Without the lock: compressing a thousand members takes milliseconds.
                batch.link = chain.as_mut().and_then(|chain| chain.next(&batch.bytes));
                self.batches.send_replace(batch);
            }
            sources.execute(&commands, &parents, &self);
        }
    }

    fn list_members(&self, addresses: Vec<SocketAddr>, lister: Lister) {
        if !lock(&self.shared).merge.list(addresses, lister, now()) {
            tracing::warn!(limit = MAX_MEMBERS, "too many fleet members; ignoring the rest");
        }
    }
}

impl Shared {
    /// The member, if it is known or certainly unknown.
    fn lookup(&self, id: &str) -> Option<Found> {
        if self.is_running {
            return match self.merge.find(id) {
                Some((_, State::Gone)) => Some(Found::Gone),
                Some((name, _)) => Some(Found::Member(name.clone(), self.merge.lister(name))),
                None => self.merge.is_settled().then_some(Found::Unknown),
            };
        }
        let requested = Name::parse(id);
        let is_it = |(name, instance, _): &&(Name, Option<Box<str>>, Lister)| {
            requested.as_ref() == Some(name) || instance.as_deref() == Some(id)
        };
        let known = self.last_members.iter().find(is_it);
        known.map(|(name, _, lister)| Found::Member(name.clone(), *lister))
    }

    fn stop(&mut self) {
        let known = self.merge.members().filter(|(_, _, state, _)| *state == State::Up);
        self.last_members = known
            .map(|(name, instance, ..)| {
                (name.clone(), instance.map(Box::from), self.merge.lister(name))
            })
            .collect();
        self.merge.clear();
        self.is_running = false;
    }
}

/// Tasks that follow members.
#[derive(Default)]
struct Sources {
    /// TLS to the members, and the host of their route.
    tls: Option<UpstreamTls>,
    host: Option<String>,
    tasks: JoinSet<()>,
    subscriptions: HashMap<SocketAddr, Subscription>,
}

struct Subscription {
    handle: AbortHandle,
    /// For a gateway: the gateways in `Via` of its connection, and its start.
    named: Option<(Instant, Vec<u32>)>,
}

impl Sources {
    /// Connections to gateways whose `Via` lacks one of these.
    fn unnamed(&self, parents: &[u32]) -> Vec<SocketAddr> {
        let is_unnamed = |(since, named): &(Instant, Vec<u32>)| {
            since.elapsed() >= RENAME_AFTER && parents.iter().any(|parent| !named.contains(parent))
        };
        let unnamed = self.subscriptions.iter();
        let unnamed =
            unnamed.filter(|(_, subscription)| subscription.named.as_ref().is_some_and(is_unnamed));
        unnamed.map(|(address, _)| *address).collect()
    }

    fn execute(&mut self, commands: &[Command], parents: &[u32], fleet: &Arc<Fleet>) {
        while self.tasks.try_join_next().is_some() {}
        for command in commands {
            match *command {
                Command::Connect(address, attempt, lister) => {
                    // stats itself does not support TLS.
                    let is_listed = lister == Lister::Setting;
                    let tls = self.tls.clone().filter(|_| is_listed);
                    let host = self.host.clone().filter(|_| is_listed);
                    let host = host.or_else(|| lock(&fleet.routes).host(address));
                    let mut target = Target { address, tls, host, via: None };
                    let mut named = None;
                    if lister == Lister::Gateway {
                        target.via = Some(via_of(parents));
                        named = Some((Instant::now(), parents.to_vec()));
                    }
                    let handle = self.tasks.spawn(source::follow(fleet.clone(), target, attempt));
                    let subscription = Subscription { handle, named };
                    if let Some(before) = self.subscriptions.insert(address, subscription) {
                        before.handle.abort();
                    }
                }
                Command::Disconnect(address) => {
                    if let Some(subscription) = self.subscriptions.remove(&address) {
                        subscription.handle.abort();
                    }
                }
            }
        }
        self.subscriptions.retain(|_, subscription| !subscription.handle.is_finished());
    }
}

/// Looks up a listed name periodically; `place` is its place in the setting.
async fn run_lookups(fleet: Arc<Fleet>, listed: Listed, place: usize, every: Duration) {
    loop {
        match upstream::resolve(&listed.origin).await {
            Ok(addresses) => {
                let host = listed.origin.authority();
                lock(&fleet.routes).list(&addresses, &host, place, Instant::now());
                fleet.list_members(addresses, listed.lister());
            }
            Err(error) => tracing::debug!(name = %listed, %error, "a lookup failed"),
        }
        sleep(every).await;
    }
}

/// Current time on both clocks.
fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Now { instant: Instant::now(), unix_ms }
}
