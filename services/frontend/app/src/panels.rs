//! What is on the page, as tables: the tiles, the charts and the lists. A panel more is a line more.

use crate::figures::Figure;

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
    pub(crate) figures: &'static [Figure],
    /// What its level is taken from, the largest of them.
    pub(crate) judged: &'static [Figure],
    /// What is judged, in words.
    pub(crate) judged_by: &'static str,
    /// The least that the top of its small line stands for.
    pub(crate) least: f64,
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
    /// The least that its top stands for; 100 percent never grow.
    pub(crate) least: f64,
    /// Its series and their names.
    pub(crate) series: &'static [(Figure, &'static str)],
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
    /// Where it is in an entry, as [`FIGURES`](crate::figures::FIGURES) describes it.
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
        figures: &[Figure::Cpu],
        judged: &[Figure::Cpu],
        judged_by: "CPU, %",
        least: 100.0,
        thresholds: [75.0, 90.0],
    },
    Tile {
        id: "ram",
        name: "Memory",
        unit: Unit::Percent,
        figures: &[Figure::Ram],
        judged: &[Figure::Ram],
        judged_by: "Memory, %",
        least: 100.0,
        thresholds: [75.0, 90.0],
    },
    Tile {
        id: "load",
        name: "Load",
        unit: Unit::Number,
        figures: &[Figure::Load1],
        judged: &[Figure::LoadShare],
        judged_by: "Load, % of the cores",
        least: 1.0,
        thresholds: [100.0, 200.0],
    },
    Tile {
        id: "network",
        name: "Network",
        unit: Unit::Rate,
        figures: &[Figure::Receive, Figure::Transmit],
        judged: &[Figure::Faults],
        judged_by: "Network, faults a second",
        least: 1024.0,
        thresholds: [1.0, 100.0],
    },
    Tile {
        id: "disk",
        name: "Disk",
        unit: Unit::Rate,
        figures: &[Figure::Read, Figure::Write],
        judged: &[Figure::DiskBusy],
        judged_by: "Disk, % busy",
        least: 1024.0,
        thresholds: [80.0, 95.0],
    },
    Tile {
        id: "pressure",
        name: "Pressure",
        unit: Unit::Percent,
        figures: &[Figure::PressureCpu, Figure::PressureMemory, Figure::PressureIo],
        judged: &[Figure::PressureCpu, Figure::PressureMemory, Figure::PressureIo],
        judged_by: "Pressure, %",
        least: 20.0,
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
        least: 100.0,
        series: &[
            (Figure::CpuUser, "user"),
            (Figure::CpuSystem, "system"),
            (Figure::CpuNice, "nice"),
            (Figure::CpuIowait, "I/O wait"),
            (Figure::CpuIrq, "interrupts"),
            (Figure::CpuSteal, "steal"),
        ],
        missing: "This machine does not tell where its processors' time goes.",
    },
    Panel {
        id: "cores",
        title: "Cores",
        unit: Unit::Percent,
        stacked: false,
        least: 100.0,
        series: &[],
        missing: "This machine does not tell of its cores one by one.",
    },
    Panel {
        id: "memory",
        title: "Memory",
        unit: Unit::Bytes,
        stacked: true,
        least: 1.0,
        series: &[
            (Figure::MemoryUsed, "used"),
            (Figure::MemoryCached, "cached"),
            (Figure::MemoryFree, "free"),
            (Figure::SwapUsed, "swap"),
        ],
        missing: "This machine does not tell of its memory.",
    },
    Panel {
        id: "load",
        title: "Load",
        unit: Unit::Number,
        stacked: false,
        least: 1.0,
        series: &[(Figure::Load1, "1 min")],
        missing: "This machine does not tell its load.",
    },
    Panel {
        id: "network",
        title: "Network",
        unit: Unit::Rate,
        stacked: false,
        least: 1024.0,
        series: &[(Figure::Receive, "received"), (Figure::Transmit, "sent")],
        missing: "No network interface is seen from here.",
    },
    Panel {
        id: "disk",
        title: "Disk",
        unit: Unit::Rate,
        stacked: false,
        least: 1024.0,
        series: &[(Figure::Read, "read"), (Figure::Write, "written")],
        missing: "No disk is seen from here.",
    },
    Panel {
        id: "pressure",
        title: "Pressure",
        unit: Unit::Percent,
        stacked: false,
        least: 5.0,
        series: &[
            (Figure::PressureCpu, "CPU"),
            (Figure::PressureMemory, "memory"),
            (Figure::PressureIo, "disk"),
        ],
        missing: "This kernel tells no pressure (PSI is off).",
    },
    Panel {
        id: "container",
        title: "Container",
        unit: Unit::Number,
        stacked: false,
        least: 0.1,
        series: &[(Figure::ContainerCpu, "cores used")],
        missing: "The service runs in no container, or in one that tells nothing.",
    },
    Panel {
        id: "task",
        title: "Task",
        unit: Unit::Number,
        stacked: false,
        least: 1.0,
        series: &[],
        missing: "",
    },
    Panel {
        id: "filesystems",
        title: "Filesystems",
        unit: Unit::Number,
        stacked: false,
        least: 1.0,
        series: &[],
        missing: "No filesystem is seen from here.",
    },
    Panel {
        id: "processes",
        title: "Processes",
        unit: Unit::Number,
        stacked: false,
        least: 1.0,
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
