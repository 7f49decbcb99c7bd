//! Layout of the page as tables: tiles, charts and lists. A new panel needs only a new entry.

use wire::ScopeKind;

use crate::metrics::Metric;
use crate::unit::Unit;

/// Tile: a large value with a sparkline.
pub(crate) struct Tile {
    /// Identifier in the markup.
    pub(crate) id: &'static str,
    /// Displayed name.
    pub(crate) name: &'static str,
    /// Unit of the value.
    pub(crate) unit: Unit,
    /// Metrics of the value: rates are added; for other units, the largest one is shown.
    pub(crate) metrics: &'static [Metric],
    /// Metrics whose largest value determines the level.
    pub(crate) level_from: &'static [Metric],
    /// Label of the thresholds in the settings.
    pub(crate) level_label: &'static str,
    /// Minimum for the upper bound of the sparkline's scale.
    pub(crate) min_scale: f64,
    /// Default thresholds for warning and critical; the viewer can change them.
    pub(crate) thresholds: [f64; 2],
}

/// Panel: a chart, a list, or both.
pub(crate) struct Panel {
    /// Identifier in the markup and in the address.
    pub(crate) id: &'static str,
    /// Displayed name.
    pub(crate) title: &'static str,
    /// Unit of the values.
    pub(crate) unit: Unit,
    /// Whether the series are stacked.
    pub(crate) stacked: bool,
    /// Minimum for the upper bound of the scale.
    pub(crate) min_scale: f64,
    /// Metrics of the series and their displayed names.
    pub(crate) series: &'static [(Metric, &'static str)],
    /// Message that replaces missing data.
    pub(crate) missing: &'static str,
}

/// Chart of a panel in one scope.
pub(crate) struct Shape {
    /// Unit of the values.
    pub(crate) unit: Unit,
    /// Whether the series are stacked.
    pub(crate) stacked: bool,
    /// Minimum for the upper bound of the scale.
    pub(crate) min_scale: f64,
    /// Metrics of the series and their displayed names.
    pub(crate) series: &'static [(Metric, &'static str)],
}

impl Panel {
    /// Returns the chart for a scope. In a container or task, CPU and memory are shares of the
    /// limits.
    pub(crate) fn shape(&self, scope: ScopeKind) -> Shape {
        let series: &[_] = match (scope, self.id) {
            (ScopeKind::Host, _) => &[],
            (_, "cpu") => &[(Metric::Cpu, "of the limit")],
            (_, "memory") => &[(Metric::Ram, "of the limit")],
            _ => &[],
        };
        if series.is_empty() {
            let Self { unit, stacked, min_scale, series, .. } = *self;
            return Shape { unit, stacked, min_scale, series };
        }
        Shape { unit: Unit::Percent, stacked: false, min_scale: 100.0, series }
    }
}

/// List in a panel.
pub(crate) struct Table {
    /// Identifier of the panel that contains the list.
    pub(crate) panel: &'static str,
    /// Displayed name.
    pub(crate) title: &'static str,
    /// Path of the list in a sample.
    pub(crate) list: &'static str,
    /// Columns of the list.
    pub(crate) columns: &'static [Column],
    /// Columns whose sum sorts the rows, largest first; if empty, the order of the sample is kept.
    pub(crate) sort: &'static [usize],
}

/// Column of a list.
pub(crate) struct Column {
    /// Displayed name.
    pub(crate) title: &'static str,
    /// Path in an entry, in the format of [`METRICS`](crate::metrics::METRICS).
    pub(crate) path: &'static str,
    /// Unit of the values.
    pub(crate) unit: Unit,
}

/// Tiles, in the order of the page.
pub(crate) const TILES: [Tile; 6] = [
    Tile {
        id: "cpu",
        name: "CPU",
        unit: Unit::Percent,
        metrics: &[Metric::Cpu],
        level_from: &[Metric::Cpu],
        level_label: "CPU, %",
        min_scale: 100.0,
        thresholds: [75.0, 90.0],
    },
    Tile {
        id: "ram",
        name: "Memory",
        unit: Unit::Percent,
        metrics: &[Metric::Ram],
        level_from: &[Metric::Ram],
        level_label: "Memory, %",
        min_scale: 100.0,
        thresholds: [75.0, 90.0],
    },
    Tile {
        id: "load",
        name: "Load",
        unit: Unit::Number,
        metrics: &[Metric::Load1],
        level_from: &[Metric::LoadShare],
        level_label: "Load, % of the cores",
        min_scale: 1.0,
        thresholds: [100.0, 200.0],
    },
    Tile {
        id: "network",
        name: "Network",
        unit: Unit::Rate,
        metrics: &[Metric::Receive, Metric::Transmit],
        level_from: &[Metric::Faults],
        level_label: "Network, faults a second",
        min_scale: 1024.0,
        thresholds: [1.0, 100.0],
    },
    Tile {
        id: "disk",
        name: "Disk",
        unit: Unit::Rate,
        metrics: &[Metric::Read, Metric::Write],
        level_from: &[Metric::DiskBusy],
        level_label: "Disk, % busy",
        min_scale: 1024.0,
        thresholds: [80.0, 95.0],
    },
    Tile {
        id: "pressure",
        name: "Pressure",
        unit: Unit::Percent,
        metrics: &[Metric::PressureCpu, Metric::PressureMemory, Metric::PressureIo],
        level_from: &[Metric::PressureCpu, Metric::PressureMemory, Metric::PressureIo],
        level_label: "Pressure, %",
        min_scale: 20.0,
        thresholds: [10.0, 40.0],
    },
];

/// Panels, in the order of the page. A panel without series contains lists, or the heat map of the
/// cores.
pub(crate) const PANELS: [Panel; 12] = [
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
        missing: "Processor time is not available on this machine.",
    },
    Panel {
        id: "cores",
        title: "Cores",
        unit: Unit::Percent,
        stacked: false,
        min_scale: 100.0,
        series: &[],
        missing: "Figures of single cores are not available on this machine.",
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
        ],
        missing: "Memory is not available on this machine.",
    },
    Panel {
        id: "load",
        title: "Load",
        unit: Unit::Number,
        stacked: false,
        min_scale: 1.0,
        series: &[(Metric::Load1, "1 min")],
        missing: "Load average is not available on this machine.",
    },
    Panel {
        id: "network",
        title: "Network",
        unit: Unit::Rate,
        stacked: false,
        min_scale: 1024.0,
        series: &[(Metric::Receive, "received"), (Metric::Transmit, "sent")],
        missing: "No network interface is visible.",
    },
    Panel {
        id: "disk",
        title: "Disk",
        unit: Unit::Rate,
        stacked: false,
        min_scale: 1024.0,
        series: &[(Metric::Read, "read"), (Metric::Write, "written")],
        missing: "No disk is visible.",
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
        missing: "PSI is disabled in this kernel: no pressure.",
    },
    Panel {
        id: "swap",
        title: "Swap",
        unit: Unit::Bytes,
        stacked: false,
        min_scale: 1.0,
        series: &[(Metric::SwapUsed, "used")],
        missing: "",
    },
    Panel {
        id: "container",
        title: "Container",
        unit: Unit::Number,
        stacked: false,
        min_scale: 0.1,
        series: &[(Metric::ContainerCpu, "cores used")],
        missing: "CPU use is unknown.",
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
        missing: "No filesystem is visible.",
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

/// Index of the panel with the heat map of the cores.
pub(crate) const CORES: usize = 1;

const PROCESS: &[Column] = &[
    column("Process", "name", Unit::Text),
    column("PID", "pid", Unit::Count),
    column("Cores", "cpu_cores", Unit::Number),
    column("Memory", "memory_bytes", Unit::Bytes),
];

/// Lists of the panels.
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
        sort: &[1, 2],
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
        sort: &[3],
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
        sort: &[2],
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
        sort: &[4],
    },
    Table {
        panel: "processes",
        title: "By processor time",
        list: "top.by_cpu",
        columns: PROCESS,
        sort: &[],
    },
    Table {
        panel: "processes",
        title: "By memory",
        list: "top.by_memory",
        columns: PROCESS,
        sort: &[],
    },
];

const fn column(title: &'static str, path: &'static str, unit: Unit) -> Column {
    Column { title, path, unit }
}
