//! Reader of the data that only `/metrics` has, during a scrape.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use wire::ScopeKind;

use super::bounded_reader::{BoundedReader, Bounds, Outcome, SourceState};
use super::clock;
use super::view::{self, View};
use super::{Roots, Sampling};
use crate::collect::on_scrape::{
    COLLECTORS, CONNTRACK_COUNT, CONNTRACK_MAX, CONNTRACK_STAT, HOSTNAME, PAGE_SIZE, Source, Texts,
};
use crate::reading::{Collected, Scrape};

/// Bounds of a scrape. A scraper waits 10 s by default; sensor drivers need tens of milliseconds
/// each.
const BOUNDS: Bounds =
    Bounds { unit: Duration::from_millis(500), all: Duration::from_millis(1500), hanging: 8 };

/// Maximum age of a reused scrape, for several scrapers at the same time.
const MAX_SCRAPE_AGE: Duration = Duration::from_millis(900);

/// Maximum length of a collector's file, bytes: `schedstat` of 1024 processors has 2 MB.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Maximum length of a device attribute; sysfs limits it to a page.
const MAX_ATTRIBUTE_BYTES: usize = 4096;

/// Maximum number of devices in a class.
const MAX_DEVICES: usize = 4096;

/// Reader for scrapers, shared by its clones.
#[derive(Clone)]
pub(crate) struct Scraper {
    state: Arc<Mutex<State>>,
}

struct State {
    reader: BoundedReader<Scrape>,
    newest: Option<(Instant, Arc<Scrape>)>,
}

impl Scraper {
    /// Reader that reads nothing before the first scrape.
    pub(crate) fn new(sampling: &Sampling) -> Self {
        let mut reader = BoundedReader::new("scrape", BOUNDS, Instant::now());
        let view = Arc::new(View::new(&sampling.roots));
        for (index, collector) in COLLECTORS.iter().enumerate() {
            let mut unit = CollectorUnit {
                index,
                source: collector.source,
                view: view.clone(),
                roots: sampling.roots.clone(),
                shows_hostname: sampling.exposed.hostname,
                network: None,
            };
            reader.add(collector.name, Box::new(move || unit.read()));
        }
        Self { state: Arc::new(Mutex::new(State { reader, newest: None })) }
    }

    /// Newest data; `None` if it could not be read. A scrape takes at most two seconds, and waiting
    /// scrapers reuse its result.
    pub(crate) async fn scrape(&self) -> Option<Arc<Scrape>> {
        // Waiting scrapers occupy no thread. The lock belongs to the scrape, which goes on if its
        // scraper leaves.
        let mut state = self.state.clone().lock_owned().await;
        // A separate thread keeps other requests from waiting.
        tokio::task::spawn_blocking(move || state.scrape()).await.ok()
    }
}

impl State {
    fn scrape(&mut self) -> Arc<Scrape> {
        if let Some((at, scrape)) = &self.newest
            && at.elapsed() < MAX_SCRAPE_AGE
        {
            return scrape.clone();
        }
        let mut scrape = self.reader.read();
        for ((index, collector), (_, state)) in
            COLLECTORS.iter().enumerate().zip(self.reader.states())
        {
            // A read that hangs or was not started has no entry.
            scrape.collected.entry(index).or_insert_with(|| Collected {
                name: collector.name,
                is_up: false,
                seconds: None,
                texts: Texts::default(),
            });
            if let Some(collected) = scrape.collected.get_mut(&index) {
                collected.is_up &= state != SourceState::Down;
            }
        }
        let scrape = Arc::new(scrape);
        self.newest = Some((Instant::now(), scrape.clone()));
        scrape
    }
}

/// Files of one collector.
struct CollectorUnit {
    index: usize,
    source: Source,
    view: Arc<View>,
    roots: Roots,
    shows_hostname: bool,
    /// Folder of `net/dev`, once found.
    network: Option<PathBuf>,
}

impl CollectorUnit {
    fn read(&mut self) -> Outcome<Scrape> {
        let begun = Instant::now();
        let mut texts = self.texts();
        // The kernel reports the name of the reader's container.
        if texts.remove(HOSTNAME).is_some() && self.shows_hostname {
            texts.extend(view::hostname(&self.roots).map(|name| (HOSTNAME.to_owned(), name)));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let state = if texts.is_empty() { SourceState::Absent } else { SourceState::Up };
        let index = self.index;
        Outcome::new(state, move |scrape: &mut Scrape, _| {
            let name = COLLECTORS.get(index).map_or("", |collector| collector.name);
            let collected = Collected {
                name,
                is_up: !texts.is_empty(),
                seconds: Some(seconds),
                texts: Texts(texts),
            };
            scrape.collected.insert(index, collected);
        })
    }

    /// Folder of `net/dev`.
    fn network_folder(&mut self) -> &Path {
        self.network.get_or_insert_with(|| {
            let network = self.view.network();
            network.file.parent().unwrap_or(Path::new("/")).to_owned()
        })
    }

    /// First number of the kernel's version; an unknown one counts as new.
    fn kernel_major(&self) -> u32 {
        let release = fs::read_to_string(self.roots.proc.join("sys/kernel/osrelease"));
        let major = release.ok().and_then(|release| release.split('.').next()?.parse().ok());
        major.unwrap_or(u32::MAX)
    }

    fn texts(&mut self) -> BTreeMap<String, String> {
        match self.source {
            Source::Proc(files) => {
                let mut texts = read_files(&self.roots.proc, files);
                let own = self.roots.proc.join("net");
                // `/proc/sys/net` belongs to the network namespace of the reader.
                if texts.contains_key(CONNTRACK_COUNT)
                    && self.network_folder() != own
                    && self.view.own_network_scope() != Some(ScopeKind::Host)
                {
                    texts.remove(CONNTRACK_COUNT);
                    // Recent kernels have a limit for each namespace, which is writable there. It was
                    // writable, too, before Linux 5.13, where it was one of the host.
                    let limit = fs::metadata(self.roots.proc.join(CONNTRACK_MAX));
                    if self.kernel_major() >= 6
                        && limit.is_ok_and(|file| !file.permissions().readonly())
                    {
                        texts.remove(CONNTRACK_MAX);
                    }
                    texts.extend(read_files(self.network_folder(), &[CONNTRACK_STAT]));
                }
                texts
            }
            Source::Root(files) => read_files(&self.roots.root, files),
            Source::Clock => clock::texts(),
            Source::Network(files) => {
                let mut texts = read_files(self.network_folder(), files);
                if !texts.is_empty() {
                    texts.insert(PAGE_SIZE.to_owned(), rustix::param::page_size().to_string());
                }
                texts
            }
            Source::Devices { folder, inner, filter } => {
                let path = if folder == "class/net" {
                    self.view.network().devices
                } else {
                    self.roots.root.join("sys").join(folder)
                };
                read_devices(&path, inner, filter)
            }
        }
    }
}

fn read_files(folder: &Path, files: &[&str]) -> BTreeMap<String, String> {
    let text = |name: &str| {
        let path = folder.join(name);
        if name.ends_with('/') { names(&path) } else { read(&path, MAX_FILE_BYTES) }
    };
    files.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?))).collect()
}

fn read_devices(
    folder: &Path,
    inner: &[&str],
    filter: fn(&str) -> bool,
) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for device in fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_DEVICES) {
        let name = device.file_name().to_string_lossy().into_owned();
        for inner in inner {
            let files = fs::read_dir(device.path().join(inner)).into_iter().flatten().flatten();
            for file in files {
                let attribute = file.file_name().to_string_lossy().into_owned();
                if !filter(&attribute) {
                    continue;
                }
                // Many attributes are not readable while a device is down. The text of a link to a
                // folder is that folder.
                let folder = || {
                    let folder = fs::canonicalize(file.path()).ok().filter(|path| path.is_dir())?;
                    Some(folder.to_string_lossy().into_owned())
                };
                if let Some(text) = read(&file.path(), MAX_ATTRIBUTE_BYTES).or_else(folder) {
                    texts.entry(format!("{name}/{attribute}")).or_insert(text);
                }
            }
        }
    }
    texts
}

/// Names in a folder, one per line.
fn names(folder: &Path) -> Option<String> {
    let mut text = String::new();
    for entry in fs::read_dir(folder).ok()?.flatten() {
        text.push_str(&entry.file_name().to_string_lossy());
        text.push('\n');
    }
    Some(text)
}

/// Text of a file; bytes that are not UTF-8 become U+FFFD. `None` for a longer file, whose
/// beginning has wrong counts and ends within a number.
fn read(path: &Path, longest: usize) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(longest as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= longest).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::rates::Exposure;
    use crate::scope::ScopePreference;

    fn sampling(root: &Path) -> Sampling {
        let roots = Roots { proc: root.join("proc"), root: root.to_owned() };
        Sampling {
            roots,
            scope_preference: ScopePreference::Auto,
            exposed: Exposure::default(),
            labels: crate::labels::Labels::new(),
            selections: crate::glob::Selections::default(),
        }
    }

    fn write_below(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[tokio::test]
    async fn name_and_connections_are_those_of_the_host_and_a_chip_has_its_device() {
        let root = std::env::temp_dir().join(format!("stats-host-scrape-{}", std::process::id()));
        let write = |name: &str, text: &str| write_below(&root, name, text);
        write("etc/hostname", "box\n");
        write("proc/sys/kernel/hostname", "0123456789ab\n");
        write("proc/sys/net/netfilter/nf_conntrack_count", "2\n");
        write("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
        let limit = root.join("proc/sys/net/netfilter/nf_conntrack_max");
        fs::set_permissions(limit, fs::Permissions::from_mode(0o444)).unwrap();
        write("proc/1/net/dev", "");
        let columns = "entries  searched found\n0000012c  00000000 00000001\n";
        write("proc/1/net/stat/nf_conntrack", columns);
        write("sys/devices/platform/coretemp.0/hwmon/hwmon7/temp1_input", "45000\n");
        let chip = root.join("sys/devices/platform/coretemp.0/hwmon/hwmon7");
        std::os::unix::fs::symlink("../..", chip.join("device")).unwrap();
        // It cannot be read, as many attributes of devices that are down.
        std::os::unix::fs::symlink("/proc/self/mem", chip.join("temp1_label")).unwrap();
        fs::create_dir_all(root.join("sys/class/hwmon")).unwrap();
        std::os::unix::fs::symlink(chip, root.join("sys/class/hwmon/hwmon7")).unwrap();
        let mut sampling = sampling(&root);
        sampling.exposed.hostname = true;
        let scrape = Scraper::new(&sampling).scrape().await.unwrap();
        let text = crate::metrics::on_scrape(&scrape, crate::metrics::Format::Text);
        fs::remove_dir_all(&root).unwrap();
        for line in [
            "nodename=\"box\"",
            "node_nf_conntrack_entries 300\n",
            "node_nf_conntrack_entries_limit 262144\n",
            "node_hwmon_temp_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 45\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("/mem"), "a label that cannot be read is no path: {text}");
    }

    #[tokio::test]
    async fn the_limit_of_connections_of_another_namespace_is_absent() {
        let root = std::env::temp_dir().join(format!("stats-connections-{}", std::process::id()));
        write_below(&root, "proc/sys/net/netfilter/nf_conntrack_count", "2\n");
        write_below(&root, "proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
        let text = async || {
            let scrape = Scraper::new(&sampling(&root)).scrape().await.unwrap();
            crate::metrics::on_scrape(&scrape, crate::metrics::Format::Text)
        };
        let own = text().await;
        write_below(&root, "proc/1/net/dev", "");
        let of_host = text().await;
        write_below(&root, "proc/sys/kernel/osrelease", "5.10.0-28-amd64\n");
        let one_for_all = text().await;
        write_below(&root, "proc/sys/net/core/netdev_max_backlog", "1000\n");
        let same = text().await;
        fs::remove_dir_all(&root).unwrap();
        for own in [own, one_for_all, same] {
            assert!(own.contains("node_nf_conntrack_entries_limit 262144\n"), "{own}");
        }
        assert!(!of_host.contains("node_nf_conntrack"), "{of_host}");
    }

    #[test]
    fn scrapers_that_leave_during_a_scrape_occupy_one_thread_together() {
        let root = std::env::temp_dir().join(format!("stats-leave-{}", std::process::id()));
        write_below(&root, "proc/meminfo", "MemTotal: 1 kB\n");
        let hanging = root.join("proc/vmstat");
        assert!(std::process::Command::new("mkfifo").arg(hanging).status().unwrap().success());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(2).build().unwrap();
        runtime.block_on(async {
            let scraper = Scraper::new(&sampling(&root));
            for _ in 0..4 {
                let left = tokio::time::timeout(Duration::from_millis(20), scraper.scrape()).await;
                assert!(left.is_err(), "the file hangs for longer");
            }
            // The other thread is free.
            let other = tokio::task::spawn_blocking(|| ());
            tokio::time::timeout(Duration::from_millis(200), other).await.unwrap().unwrap();
        });
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_file_that_is_too_long_is_absent() {
        let path = std::env::temp_dir().join(format!("stats-cut-{}", std::process::id()));
        fs::write(&path, "cpu0 1\ncpu1 23\n").unwrap();
        let texts = [14, 15].map(|longest| read(&path, longest));
        fs::remove_file(&path).unwrap();
        assert_eq!(texts, [None, Some("cpu0 1\ncpu1 23\n".to_owned())]);
    }

    #[tokio::test]
    async fn a_hanging_file_affects_only_its_collector_and_the_host_name_stays_hidden() {
        let root = std::env::temp_dir().join(format!("stats-scrape-{}", std::process::id()));
        let write = |name: &str, text: &str| write_below(&root, name, text);
        write("proc/meminfo", "MemTotal: 1 kB\n");
        write("proc/sys/kernel/hostname", "secret\n");
        write("proc/sys/kernel/osrelease", "6.1.0\n");
        write("sys/class/net/eth0/speed", "1000\n");
        let hanging = root.join("proc/vmstat");
        assert!(std::process::Command::new("mkfifo").arg(hanging).status().unwrap().success());
        let scraper = Scraper::new(&sampling(&root));
        let scrape = scraper.scrape().await.unwrap();
        let of = |name: &str| {
            scrape.collected.values().find(|collected| collected.name == name).unwrap()
        };
        assert!(of("meminfo").is_up && of("meminfo").seconds.is_some());
        assert_eq!((of("vmstat").is_up, of("vmstat").seconds), (false, None));
        assert_eq!(of("uname").texts.get("sys/kernel/osrelease"), Some("6.1.0"));
        assert_eq!(of("uname").texts.get("sys/kernel/hostname"), None);
        assert_eq!(of("netclass").texts.number("eth0/speed"), Some(1000));
        // Another scraper at the same time receives the same result.
        assert!(Arc::ptr_eq(&scrape, &scraper.scrape().await.unwrap()));
        fs::remove_dir_all(&root).unwrap();
    }
}
