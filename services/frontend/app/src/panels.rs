//! What is on the page, as tables: the tiles, the charts and the lists. A panel more is a line more.

use crate::metrics::Metric;

/// In what a figure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A name.
    Text,
    /// Of a hundred.
    Percent,
    /// Of a hundred, with a bar.
    Bar,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    Rate,
    /// Things, with two decimals.
    Number,
    /// Things, whole.
    Count,
}

/// A large figure.
pub(crate) struct Tile {
    /// Its name for machines.
    pub(crate) id: &'static str,
    /// Its name for people.
    pub(crate) name: &'static str,
    /// In what it is counted.
    pub(crate) unit: Unit,
    /// What it is made of: rates are summed up, of the others the largest counts.
    pub(crate) figures: &'static [Metric],
    /// The level follows the largest of these.
    pub(crate) level_from: &'static [Metric],
    /// Label of the thresholds in the settings.
    pub(crate) level_label: &'static str,
    /// The smallest value at the top of its small line.
    pub(crate) min_scale: f64,
    /// Where warning and critical begin, unless the viewer says otherwise.
    pub(crate) thresholds: [f64; 2],
}

/// A chart.
pub(crate) struct Panel {
    /// Its name for machines.
    pub(crate) id: &'static str,
    /// Its name for people.
    pub(crate) title: &'static str,
    /// In what it is counted.
    pub(crate) unit: Unit,
    /// Whether its series add up.
    pub(crate) stacked: bool,
    /// The smallest value at the top of the scale.
    pub(crate) min_scale: f64,
    /// Its series and their names.
    pub(crate) series: &'static [(Metric, &'static str)],
    /// What is said where there are no figures.
    pub(crate) missing: &'static str,
}

/// A list of things.
pub(crate) struct Table {
    /// The panel that it stands in.
    pub(crate) panel: &'static str,
    /// Its name for people.
    pub(crate) title: &'static str,
    /// Where it is in a sample.
    pub(crate) list: &'static str,
    /// What is told of each.
    pub(crate) columns: &'static [Column],
}

/// One thing that is told of each.
pub(crate) struct Column {
    /// Its name for people.
    pub(crate) title: &'static str,
    /// Where it is in an entry, as [`METRICS`](crate::metrics::METRICS) describes it.
    pub(crate) path: &'static str,
    /// In what it is counted.
    pub(crate) unit: Unit,
}

/// The large figures, in the order of the page.
pub(crate) const TILES: [Tile; 6] = [
    Tile {
        id: "cpu",
        name: "CPU",
        unit: Unit::Percent,
        figures: &[Metric::Cpu],
        level_from: &[Metric::Cpu],
        level_label: "CPU, %",
        min_scale: 100.0,
        thresholds: [75.0, 90.0],
    },
    Tile {
        id: "ram",
        name: "Memory",
        unit: Unit::Percent,
        figures: &[Metric::Ram],
        level_from: &[Metric::Ram],
        level_label: "Memory, %",
        min_scale: 100.0,
        thresholds: [75.0, 90.0],
    },
    Tile {
        id: "load",
        name: "Load",
        unit: Unit::Number,
        figures: &[Metric::Load1],
        level_from: &[Metric::LoadShare],
        level_label: "Load, % of the cores",
        min_scale: 1.0,
        thresholds: [100.0, 200.0],
    },
    Tile {
        id: "network",
        name: "Network",
        unit: Unit::Rate,
        figures: &[Metric::Receive, Metric::Transmit],
        level_from: &[Metric::Faults],
        level_label: "Network, faults a second",
        min_scale: 1024.0,
        thresholds: [1.0, 100.0],
    },
    Tile {
        id: "disk",
        name: "Disk",
        unit: Unit::Rate,
        figures: &[Metric::Read, Metric::Write],
        level_from: &[Metric::DiskBusy],
        level_label: "Disk, % busy",
        min_scale: 1024.0,
        thresholds: [80.0, 95.0],
    },
    Tile {
        id: "pressure",
        name: "Pressure",
        unit: Unit::Percent,
        figures: &[Metric::PressureCpu, Metric::PressureMemory, Metric::PressureIo],
        level_from: &[Metric::PressureCpu, Metric::PressureMemory, Metric::PressureIo],
        level_label: "Pressure, %",
        min_scale: 20.0,
        thresholds: [10.0, 40.0],
    },
];

/// The panels, in the order of the page. One without series shows what its name says.
pub(crate) const PANELS: [Panel; 11] = [
    Panel {
        id: "cpu",
        title: "Processor time",
        unit: Unit::Percent,
        stacked: true,
        min_scale: 100.0,
        series: &[
            (Metric::CpuUser, "user"),
            (Metric::CpuSystem, "system"),
            (Metric::CpuNice, "nice"),
            (Metric::CpuIowait, "I/O wait"),
            (Metric::CpuIrq, "interrupts"),
            (Metric::CpuSteal, "steal"),
        ],
        missing: "This machine does not tell where its processors' time goes.",
    },
    Panel {
        id: "cores",
        title: "Cores",
        unit: Unit::Percent,
        stacked: false,
        min_scale: 100.0,
        series: &[],
        missing: "This machine does not tell of its cores one by one.",
    },
    Panel {
        id: "memory",
        title: "Memory",
        unit: Unit::Bytes,
        stacked: true,
        min_scale: 1.0,
        series: &[
            (Metric::MemoryUsed, "used"),
            (Metric::MemoryCached, "cached"),
            (Metric::MemoryFree, "free"),
            (Metric::SwapUsed, "swap"),
        ],
        missing: "This machine does not tell of its memory.",
    },
    Panel {
        id: "load",
        title: "Load",
        unit: Unit::Number,
        stacked: false,
        min_scale: 1.0,
        series: &[(Metric::Load1, "1 min")],
        missing: "This machine does not tell its load.",
    },
    Panel {
        id: "network",
        title: "Network",
        unit: Unit::Rate,
        stacked: false,
        min_scale: 1024.0,
        series: &[(Metric::Receive, "received"), (Metric::Transmit, "sent")],
        missing: "No network interface is seen from here.",
    },
    Panel {
        id: "disk",
        title: "Disk",
        unit: Unit::Rate,
        stacked: false,
        min_scale: 1024.0,
        series: &[(Metric::Read, "read"), (Metric::Write, "written")],
        missing: "No disk is seen from here.",
    },
    Panel {
        id: "pressure",
        title: "Pressure",
        unit: Unit::Percent,
        stacked: false,
        min_scale: 5.0,
        series: &[
            (Metric::PressureCpu, "CPU"),
            (Metric::PressureMemory, "memory"),
            (Metric::PressureIo, "disk"),
        ],
        missing: "This kernel tells no pressure (PSI is off).",
    },
    Panel {
        id: "container",
        title: "Container",
        unit: Unit::Number,
        stacked: false,
        min_scale: 0.1,
        series: &[(Metric::ContainerCpu, "cores used")],
        missing: "The service runs in no container, or in one that tells nothing.",
    },
    Panel {
        id: "task",
        title: "Task",
        unit: Unit::Number,
        stacked: false,
        min_scale: 1.0,
        series: &[],
        missing: "",
    },
    Panel {
        id: "filesystems",
        title: "Filesystems",
        unit: Unit::Number,
        stacked: false,
        min_scale: 1.0,
        series: &[],
        missing: "No filesystem is seen from here.",
    },
    Panel {
        id: "processes",
        title: "Processes",
        unit: Unit::Number,
        stacked: false,
        min_scale: 1.0,
        series: &[],
        missing: "",
    },
];

/// The panel of the cores.
pub(crate) const CORES: usize = 1;

const PROCESS: &[Column] = &[
    column("Process", "name", Unit::Text),
    column("PID", "pid", Unit::Count),
    column("Cores", "cpu_cores", Unit::Number),
    column("Memory", "memory_bytes", Unit::Bytes),
];

/// The lists.
pub(crate) const TABLES: [Table; 6] = [
    Table {
        panel: "network",
        title: "Interfaces",
        list: "networks",
        columns: &[
            column("Interface", "name", Unit::Text),
            column("Received", "receive.bytes_per_second", Unit::Rate),
            column("Sent", "transmit.bytes_per_second", Unit::Rate),
            column(
                "Errors/s",
                "receive.errors_per_second|transmit.errors_per_second",
                Unit::Number,
            ),
            column("Drops/s", "receive.drops_per_second|transmit.drops_per_second", Unit::Number),
        ],
    },
    Table {
        panel: "disk",
        title: "Devices",
        list: "disks",
        columns: &[
            column("Device", "name", Unit::Text),
            column("Read", "read_bytes_per_second", Unit::Rate),
            column("Written", "write_bytes_per_second", Unit::Rate),
            column("Busy", "utilisation", Unit::Bar),
        ],
    },
    Table {
        panel: "task",
        title: "Containers of the task",
        list: "task.containers",
        columns: &[
            column("Container", "name", Unit::Text),
            column("State", "status", Unit::Text),
            column("Cores", "cpu_used_cores", Unit::Number),
            column("of", "cpu_limit_cores", Unit::Number),
            column("Memory", "memory_used_bytes", Unit::Bytes),
            column("of", "memory_limit_bytes", Unit::Bytes),
        ],
    },
    Table {
        panel: "filesystems",
        title: "Filesystems",
        list: "filesystems",
        columns: &[
            column("Mounted at", "mount", Unit::Text),
            column("Type", "kind", Unit::Text),
            column("Used", "used_bytes", Unit::Bytes),
            column("of", "total_bytes", Unit::Bytes),
            column("Full", "used_bytes/used_bytes|available_bytes", Unit::Bar),
        ],
    },
    Table { panel: "processes", title: "By processor time", list: "top.by_cpu", columns: PROCESS },
    Table { panel: "processes", title: "By memory", list: "top.by_memory", columns: PROCESS },
];

const fn column(title: &'static str, path: &'static str, unit: Unit) -> Column {
    Column { title, path, unit }
}
