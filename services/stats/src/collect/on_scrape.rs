//! Collectors for `/metrics` only: their files are read during a scrape.
//!
//! Each is one function from the text of its files to families with the names of `node_exporter`. A
//! value that cannot be parsed is left out without an effect on the others.

mod hardware;
mod kernel;
mod memory;
mod network;
mod network_devices;
mod own_process;
mod storage;
mod system;
mod timex;

use std::collections::BTreeMap;

pub(crate) use kernel::{CONNTRACK_COUNT, CONNTRACK_MAX, CONNTRACK_STAT};
pub(crate) use system::HOSTNAME;
pub(crate) use timex::TEXT as CLOCK;

use crate::exposition::{Kind, Label, Value, Writer};

/// One collector.
pub(crate) struct Collector {
    /// Name of the collector in `node_exporter`.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// Writes the metric families. Pure.
    pub(crate) write: fn(&Texts, &mut Writer),
}

/// Files of a collector.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// Files below the proc filesystem. The text of a folder (`self/fd/`) is the list of its names,
    /// one per line.
    Proc(&'static [&'static str]),
    /// Files of the network namespace, relative to the folder of `net/dev`.
    Network(&'static [&'static str]),
    /// Files relative to the root.
    Root(&'static [&'static str]),
    /// Kernel clock (`adjtimex(2)`), as one text of `sampler::clock`.
    Clock,
    /// Attributes of each device of a class: files `FOLDER/DEVICE/INNER/FILE` below `sys` whose
    /// name passes the filter.
    Devices { folder: &'static str, inner: &'static [&'static str], filter: fn(&str) -> bool },
}

/// All collectors, in the order of the exposition.
pub(crate) const COLLECTORS: [Collector; 27] = [
    memory::MEMINFO,
    memory::VMSTAT,
    kernel::STAT,
    kernel::SCHEDSTAT,
    kernel::FILEFD,
    kernel::ENTROPY,
    kernel::CONNTRACK,
    kernel::PRESSURE,
    kernel::LIMITS,
    network::DEVICES,
    network::NETSTAT,
    network::SOCKSTAT,
    network::SOFTNET,
    network::ARP,
    network_devices::CLASS,
    network_devices::BONDING,
    storage::DISKSTATS,
    storage::MDADM,
    storage::ZFS,
    hardware::CPU_FREQUENCY,
    hardware::HWMON,
    hardware::THERMAL_ZONES,
    hardware::COOLING_DEVICES,
    system::UNAME,
    system::OS,
    timex::TIMEX,
    own_process::PROCESS,
];

/// Key of the memory page size in bytes, among the texts of the network collectors.
pub(crate) const PAGE_SIZE: &str = "page_size";

/// Contents of files by path: the path in the collector, or `DEVICE/FILE`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Texts(pub(crate) BTreeMap<String, String>);

impl Texts {
    /// Content of one file, trimmed.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(|text| text.trim())
    }

    /// Content of a file with one number.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.get(path)?.parse().ok()
    }

    /// Devices with their attributes.
    pub(crate) fn devices(&self) -> Vec<Device<'_>> {
        let mut devices: Vec<Device> = Vec::new();
        for (path, text) in &self.0 {
            let Some((name, attribute)) = path.split_once('/') else { continue };
            match devices.last_mut() {
                Some(last) if last.name == name => last.attributes.push((attribute, text.trim())),
                _ => devices.push(Device { name, attributes: vec![(attribute, text.trim())] }),
            }
        }
        devices
    }
}

/// One device of a class.
pub(crate) struct Device<'a> {
    pub(crate) name: &'a str,
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
}

impl Device<'_> {
    pub(crate) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| *name == attribute).map(|(_, text)| *text)
    }

    pub(crate) fn number(&self, attribute: &str) -> Option<i64> {
        self.get(attribute)?.parse().ok()
    }
}

/// Writes a family with one sample without labels.
fn single(writer: &mut Writer, name: &str, kind: Kind, help: &'static str, value: Value) {
    writer.family(name, kind, help).add(&[], value);
}

/// Writes a family with one sample per item that has a value.
fn per_item<'a, const N: usize>(
    writer: &mut Writer,
    name: &str,
    kind: Kind,
    help: &'static str,
    items: impl IntoIterator<Item = ([Label<'a>; N], Value)>,
) {
    let mut samples = writer.family(name, kind, help);
    for (labels, value) in items {
        samples.add(&labels, value);
    }
}

/// Type of a family by its name: only counters end in `_total`.
fn kind(name: &str) -> Kind {
    if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge }
}

/// Whether the text is valid in a family name: letters, digits and underscores.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exposition::Format;

    /// Output of a collector for these files.
    pub(super) fn written(collector: &Collector, files: &[(&str, &str)]) -> String {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        let mut writer = Writer::new(Format::Text, 0);
        (collector.write)(&Texts(files.iter().map(owned).collect()), &mut writer);
        let text = writer.finish();
        text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn names_are_unique_and_nothing_is_written_without_files() {
        let names: std::collections::BTreeSet<_> =
            COLLECTORS.iter().map(|collector| collector.name).collect();
        assert_eq!(names.len(), COLLECTORS.len());
        for collector in &COLLECTORS {
            assert_eq!(written(collector, &[]), "", "{}", collector.name);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_collector_panic(text in "[ -~\n]{0,200}", words in "([A-Za-z]{1,8}:? ?|[0-9]{1,20} ?|\n){0,60}") {
            for text in [&text, &words] {
                for collector in &COLLECTORS {
                    let paths: Vec<String> = match collector.source {
                        Source::Proc(files) | Source::Network(files) | Source::Root(files) => {
                            files.iter().map(|file| (*file).to_owned()).collect()
                        }
                        Source::Clock => vec![timex::TEXT.to_owned()],
                        Source::Devices { .. } => [
                            "eth0/speed", "eth0/operstate", "hwmon0/temp1_input", "hwmon0/name",
                            "cpu0/scaling_cur_freq", "thermal_zone0/temp", "bond0/slaves",
                        ].map(str::to_owned).to_vec(),
                    };
                    let files: Vec<_> = paths.iter().map(|path| (path.as_str(), text.as_str())).collect();
                    let _ = written(collector, &files);
                }
            }
        }
    }
}
