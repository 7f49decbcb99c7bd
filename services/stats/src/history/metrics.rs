//! Metrics of a sample that have a history.

/// A metric with a history.
pub(super) struct Metric {
    /// Name in responses and in the history file.
    pub(super) name: &'static str,
    /// Value in a sample.
    value: fn(&wire::Sample) -> Option<f64>,
    /// Resolution: steps per unit, 100 for two decimals.
    scale: f64,
}

/// Number of metrics.
pub(super) const COUNT: usize = METRICS.len();

/// Index of `cpu`.
pub(super) const CPU: usize = 0;

/// Index of `ram`.
pub(super) const RAM: usize = 1;

/// All metrics with a history. A new metric can have any position after the first two, because the
/// file refers to metrics by name.
pub(super) const METRICS: &[Metric] = &[
    percent("cpu", |sample| sample.cpu),
    percent("ram", |sample| sample.ram),
    percent("cpu_user", |sample| Some(shares(sample)?.user)),
    percent("cpu_nice", |sample| Some(shares(sample)?.nice)),
    percent("cpu_system", |sample| Some(shares(sample)?.system)),
    percent("cpu_irq", |sample| Some(shares(sample)?.irq)),
    percent("cpu_steal", |sample| Some(shares(sample)?.steal)),
    percent("cpu_iowait", |sample| Some(shares(sample)?.iowait)),
    bytes("memory_used_bytes", |sample| Some(sample.memory?.used_bytes as f64)),
    bytes("memory_cached_bytes", |sample| cached_bytes(sample.memory?)),
    bytes("memory_free_bytes", |sample| Some(sample.memory?.free_bytes? as f64)),
    bytes("swap_used_bytes", |sample| Some(sample.memory?.swap_used_bytes? as f64)),
    percent("load_1", |sample| sample.load.map(|[one, ..]| one)),
    bytes("network_receive_bytes_per_second", |sample| {
        sum(outer_networks(sample).map(|network| network.receive.bytes_per_second))
    }),
    bytes("network_transmit_bytes_per_second", |sample| {
        sum(outer_networks(sample).map(|network| network.transmit.bytes_per_second))
    }),
    bytes("disk_read_bytes_per_second", |sample| {
        sum(whole_disks(sample).map(|disk| disk.read_bytes_per_second))
    }),
    bytes("disk_write_bytes_per_second", |sample| {
        sum(whole_disks(sample).map(|disk| disk.write_bytes_per_second))
    }),
    percent("pressure_cpu", |sample| Some(sample.pressure?.cpu?.some.avg10)),
    percent("pressure_memory", |sample| Some(sample.pressure?.memory?.some.avg10)),
    percent("pressure_io", |sample| Some(sample.pressure?.io?.some.avg10)),
    // Four decimals: a small container uses only a few thousandths of a processor.
    Metric {
        name: "container_cpu_cores",
        value: |sample| sample.container.as_ref()?.cpu_used_cores,
        scale: 10_000.0,
    },
    bytes("container_memory_bytes", |sample| {
        Some(sample.container.as_ref()?.memory_used_bytes? as f64)
    }),
    percent("throttled", |sample| sample.container.as_ref()?.throttled),
];

impl Metric {
    /// Value in this sample; NaN if it is unknown.
    pub(super) fn of(&self, sample: &wire::Sample) -> f32 {
        let value = (self.value)(sample).map_or(f32::NAN, |value| self.rounded(value));
        if value.is_finite() { value } else { f32::NAN }
    }

    /// Value rounded to the decimals of this metric.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a chart")]
    pub(super) fn rounded(&self, value: f64) -> f32 {
        ((value * self.scale).round() / self.scale) as f32
    }
}

const fn percent(name: &'static str, value: fn(&wire::Sample) -> Option<f64>) -> Metric {
    Metric { name, value, scale: 100.0 }
}

const fn bytes(name: &'static str, value: fn(&wire::Sample) -> Option<f64>) -> Metric {
    Metric { name, value, scale: 1.0 }
}

fn shares(sample: &wire::Sample) -> Option<wire::Shares> {
    sample.processors.as_ref()?.total
}

/// Cached memory: page cache, buffers, reclaimable kernel memory, which old kernels do not report,
/// and the cache of ZFS.
fn cached_bytes(memory: wire::Memory) -> Option<f64> {
    let wire::Memory { buffers_bytes, slab_reclaimable_bytes, zfs_reclaimable_bytes, .. } = memory;
    let around = [buffers_bytes, slab_reclaimable_bytes, zfs_reclaimable_bytes];
    let sum = around.into_iter().flatten().fold(memory.cached_bytes?, u64::saturating_add);
    Some(sum as f64)
}

/// Disks that do not consist of others. Stacked disks would count the same data twice.
pub(crate) fn whole_disks(sample: &wire::Sample) -> impl Iterator<Item = &wire::Disk> {
    sample.disks.iter().filter(|disk| !disk.stacked)
}

/// Interfaces that lead out of the machine, for the same reason.
pub(crate) fn outer_networks(sample: &wire::Sample) -> impl Iterator<Item = &wire::Network> {
    sample.networks.iter().filter(|network| !network.stacked)
}

/// Sum of the values; `None` without values.
fn sum(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, sample: &wire::Sample) -> f32 {
        METRICS.iter().find(|metric| metric.name == name).unwrap().of(sample)
    }

    #[test]
    fn an_empty_sample_has_no_values() {
        for metric in METRICS {
            assert!(metric.of(&wire::Sample::default()).is_nan(), "{}", metric.name);
        }
    }

    #[test]
    fn the_indexes_of_cpu_and_ram_are_correct() {
        assert_eq!((METRICS[CPU].name, METRICS[RAM].name), ("cpu", "ram"));
    }

    #[test]
    fn metric_names_are_unique() {
        let names: std::collections::BTreeSet<_> = METRICS.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), COUNT);
    }

    #[test]
    fn every_metric_has_a_value_in_a_full_sample() {
        let stall = |avg10| wire::Stalls {
            some: wire::Stall { avg10, ..wire::Stall::default() },
            full: None,
        };
        let traffic =
            |bytes_per_second| wire::Traffic { bytes_per_second, ..wire::Traffic::default() };
        let network = |receive, transmit| wire::Network {
            name: "eth".to_owned(),
            stacked: false,
            receive: traffic(receive),
            transmit: traffic(transmit),
        };
        let disk = |name: &str, read_bytes_per_second, write_bytes_per_second| wire::Disk {
            name: name.to_owned(),
            read_bytes_per_second,
            write_bytes_per_second,
            ..wire::Disk::default()
        };
        let sample = wire::Sample {
            cpu: Some(1.25),
            ram: Some(2.5),
            processors: Some(wire::Processors {
                total: Some(wire::Shares {
                    busy: 15.0,
                    user: 1.0,
                    nice: 2.0,
                    system: 3.0,
                    irq: 4.0,
                    steal: 5.0,
                    iowait: 6.0,
                    idle: 79.0,
                }),
                ..wire::Processors::default()
            }),
            memory: Some(wire::Memory {
                used_bytes: 100,
                free_bytes: Some(200),
                buffers_bytes: Some(1),
                cached_bytes: Some(20),
                slab_reclaimable_bytes: Some(300),
                zfs_reclaimable_bytes: Some(5000),
                swap_used_bytes: Some(400),
                ..wire::Memory::default()
            }),
            load: Some([0.75, 0.5, 0.25]),
            networks: vec![
                network(10.0, 1.0),
                network(20.0, 2.0),
                wire::Network { stacked: true, ..network(40.0, 4.0) },
            ],
            disks: vec![
                disk("sda", 1.0, 10.0),
                disk("nvme0n1", 2.0, 20.0),
                wire::Disk { stacked: true, ..disk("dm-0", 4.0, 40.0) },
            ],
            pressure: Some(wire::Pressure {
                cpu: Some(stall(7.0)),
                memory: Some(stall(8.0)),
                io: Some(stall(9.0)),
            }),
            container: Some(wire::Container {
                cpu_used_cores: Some(0.0012),
                memory_used_bytes: Some(500),
                throttled: Some(11.0),
                ..wire::Container::default()
            }),
            ..wire::Sample::default()
        };
        let expected = [
            ("cpu", 1.25),
            ("ram", 2.5),
            ("cpu_user", 1.0),
            ("cpu_nice", 2.0),
            ("cpu_system", 3.0),
            ("cpu_irq", 4.0),
            ("cpu_steal", 5.0),
            ("cpu_iowait", 6.0),
            ("memory_used_bytes", 100.0),
            ("memory_cached_bytes", 5321.0),
            ("memory_free_bytes", 200.0),
            ("swap_used_bytes", 400.0),
            ("load_1", 0.75),
            ("network_receive_bytes_per_second", 30.0),
            ("network_transmit_bytes_per_second", 3.0),
            ("disk_read_bytes_per_second", 3.0),
            ("disk_write_bytes_per_second", 30.0),
            ("pressure_cpu", 7.0),
            ("pressure_memory", 8.0),
            ("pressure_io", 9.0),
            ("container_cpu_cores", 0.0012),
            ("container_memory_bytes", 500.0),
            ("throttled", 11.0),
        ];
        let found: Vec<_> = METRICS.iter().map(|f| (f.name, f.of(&sample))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn cached_memory_is_known_without_fields_that_old_kernels_lack() {
        let memory = wire::Memory { cached_bytes: Some(20), ..wire::Memory::default() };
        let sample = wire::Sample { memory: Some(memory), ..wire::Sample::default() };
        assert_eq!(of("memory_cached_bytes", &sample).to_bits(), 20_f32.to_bits());
    }

    #[test]
    fn values_that_are_not_numbers_are_unknown() {
        for cpu in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let sample = wire::Sample { cpu: Some(cpu), ..wire::Sample::default() };
            assert!(of("cpu", &sample).is_nan(), "{cpu}");
        }
    }
}
