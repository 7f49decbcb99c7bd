//! Summary of a sample in about 400 bytes, for lists of many machines. Pure.

use wire::{
    Sample, ScopeKind, Summary, SummaryDisk, SummaryLimits, SummaryNetwork, SummaryPressure,
};

use crate::history::{outer_networks, whole_disks};

/// Summary of a sample, with the version of this service.
pub(crate) fn summary(sample: &Sample, version: &str) -> Summary {
    Summary {
        instance: sample.instance.clone(),
        name: sample.hostname.clone(),
        labels: sample.labels.clone(),
        scope: sample.scope.kind,
        state: sample.state,
        since_unix_ms: sample.since_unix_ms,
        alert: sample.alerts.first().cloned(),
        time_unix_ms: sample.time_unix_ms,
        sequence: sample.sequence,
        cpu: sample.cpu,
        ram: sample.ram,
        load: sample.load.map(|[one, ..]| one),
        pressure: pressure(sample),
        network: network(sample),
        disk: disk(sample),
        limits: limits(sample),
        uptime_seconds: sample.uptime_seconds.map(whole),
        version: version.to_owned(),
    }
}

fn pressure(sample: &Sample) -> Option<SummaryPressure> {
    let pressure = sample.pressure.as_ref()?;
    let some = |stalls: Option<wire::Stalls>| stalls.map(|stalls| stalls.some.avg10);
    Some(SummaryPressure {
        cpu: some(pressure.cpu),
        memory: some(pressure.memory),
        io: some(pressure.io),
    })
}

/// Traffic of the interfaces that a task's containers share; otherwise of the outer interfaces of
/// the machine.
fn network(sample: &Sample) -> Option<SummaryNetwork> {
    let task = sample.task.as_ref().and_then(|task| task.receive.zip(task.transmit));
    let mut directions = outer_networks(sample).map(|network| (network.receive, network.transmit));
    let first = task.or_else(|| directions.next())?;
    let others = directions.filter(|_| task.is_none());
    let (received, sent) = others.fold(
        (first.0.bytes_per_second, first.1.bytes_per_second),
        |(received, sent), (receive, transmit)| {
            (received + receive.bytes_per_second, sent + transmit.bytes_per_second)
        },
    );
    Some(SummaryNetwork { received: received.round(), sent: sent.round() })
}

fn disk(sample: &Sample) -> Option<SummaryDisk> {
    let add = |sum: SummaryDisk, disk: &wire::Disk| SummaryDisk {
        read: sum.read + disk.read_bytes_per_second,
        written: sum.written + disk.write_bytes_per_second,
        busy: sum.busy.max(disk.utilisation),
    };
    whole_disks(sample).next()?;
    let sum = whole_disks(sample).fold(SummaryDisk::default(), add);
    Some(SummaryDisk { read: sum.read.round(), written: sum.written.round(), ..sum })
}

fn limits(sample: &Sample) -> Option<SummaryLimits> {
    let host = SummaryLimits {
        cpus: sample
            .processors
            .as_ref()
            .map(|processors| f64::from(processors.online))
            .filter(|&cpus| cpus > 0.0),
        memory_bytes: sample.memory.map(|memory| memory.total_bytes),
    };
    let own = match sample.scope.kind {
        ScopeKind::Host => None,
        ScopeKind::Container => sample
            .container
            .as_ref()
            .map(|container| (container.cpu_limit_cores, container.memory_limit_bytes)),
        ScopeKind::Task => {
            sample.task.as_ref().map(|task| (task.cpu_limit_cores, task.memory_limit_bytes))
        }
    };
    let (cpus, memory_bytes) = own.unwrap_or_default();
    let limits = SummaryLimits {
        cpus: [cpus, host.cpus].into_iter().flatten().reduce(f64::min),
        memory_bytes: [memory_bytes, host.memory_bytes].into_iter().flatten().min(),
    };
    (limits != SummaryLimits::default()).then_some(limits)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy_sample() -> Sample {
        let traffic =
            |bytes_per_second| wire::Traffic { bytes_per_second, ..wire::Traffic::default() };
        let network = |name: &str, stacked, receive, transmit| wire::Network {
            name: name.to_owned(),
            stacked,
            receive: traffic(receive),
            transmit: traffic(transmit),
        };
        let disk = |name: &str, stacked, read, utilisation| wire::Disk {
            name: name.to_owned(),
            stacked,
            read_bytes_per_second: read,
            utilisation,
            ..wire::Disk::default()
        };
        let stalls =
            wire::Stalls { some: wire::Stall { avg10: 1.5, ..wire::Stall::default() }, full: None };
        Sample {
            cpu: Some(97.31),
            ram: Some(41.2),
            instance: "0123456789abcdef".to_owned(),
            sequence: 42,
            time_unix_ms: 1_795_000_000_000,
            uptime_seconds: Some(86_400.75),
            load: Some([1.25, 1.0, 0.5]),
            processors: Some(wire::Processors { online: 4, ..wire::Processors::default() }),
            memory: Some(wire::Memory { total_bytes: 8 << 30, ..wire::Memory::default() }),
            pressure: Some(wire::Pressure { cpu: Some(stalls), ..wire::Pressure::default() }),
            networks: vec![
                network("eth0", false, 100.4, 10.0),
                network("eth1", false, 200.0, 20.0),
                network("br0", true, 300.0, 30.0),
            ],
            disks: vec![
                disk("sda", false, 1.0, 10.0),
                disk("sdb", false, 2.0, 99.0),
                disk("dm-0", true, 3.0, 100.0),
            ],
            ..Sample::default()
        }
    }

    #[test]
    fn sums_leave_out_stacked_devices_and_use_the_busiest_disk() {
        let summary = summary(&busy_sample(), "0.1.0");
        assert_eq!(summary.network, Some(SummaryNetwork { received: 300.0, sent: 30.0 }));
        assert_eq!(summary.disk, Some(SummaryDisk { read: 3.0, written: 0.0, busy: 99.0 }));
        assert_eq!((summary.load, summary.uptime_seconds), (Some(1.25), Some(86_400)));
        let limits = SummaryLimits { cpus: Some(4.0), memory_bytes: Some(8 << 30) };
        assert_eq!(summary.limits, Some(limits));
        let json = serde_json::to_string(&summary).unwrap();
        assert!((200..450).contains(&json.len()), "{} bytes: {json}", json.len());
    }

    #[test]
    fn the_limits_are_those_of_the_scope() {
        let mut sample = busy_sample();
        sample.scope.kind = ScopeKind::Container;
        sample.container = Some(wire::Container {
            cpu_limit_cores: Some(0.5),
            memory_limit_bytes: Some(1 << 30),
            ..wire::Container::default()
        });
        let limits = SummaryLimits { cpus: Some(0.5), memory_bytes: Some(1 << 30) };
        assert_eq!(summary(&sample, "1").limits, Some(limits));
    }

    #[test]
    fn in_a_task_the_network_is_that_of_the_task() {
        let mut sample = busy_sample();
        let traffic = wire::Traffic { bytes_per_second: 7.0, ..wire::Traffic::default() };
        sample.task = Some(wire::Task {
            receive: Some(traffic),
            transmit: Some(traffic),
            ..wire::Task::default()
        });
        let network = SummaryNetwork { received: 7.0, sent: 7.0 };
        assert_eq!(summary(&sample, "1").network, Some(network));
    }

    #[test]
    fn unknown_values_are_absent() {
        let json = serde_json::to_value(summary(&Sample::default(), "1")).unwrap();
        let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["instance", "scope", "sequence", "time_unix_ms", "version"]);
    }
}
