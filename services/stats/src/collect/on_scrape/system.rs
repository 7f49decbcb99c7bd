//! Kernel and distribution.

use super::{Collector, Kind, Source, Texts, Value, Writer, per_item, single};

/// Kernel: `/proc/sys/kernel` (`uname(2)`). The host name is only included if it is exposed.
pub(super) const UNAME: Collector = Collector {
    name: "uname",
    source: Source::Proc(&[
        "sys/kernel/osrelease",
        "sys/kernel/version",
        "sys/kernel/ostype",
        HOSTNAME,
    ]),
    write: uname,
};

/// Key of the host name.
pub(crate) const HOSTNAME: &str = "sys/kernel/hostname";

/// Distribution: `/etc/os-release` (`os-release(5)`).
pub(super) const OS: Collector = Collector {
    name: "os",
    source: Source::Root(&["etc/os-release", "usr/lib/os-release"]),
    write: os,
};

/// Placeholder of the kernel for a missing name.
const UNNAMED: &str = "(none)";

const MACHINE: &str = if cfg!(target_arch = "x86_64") {
    "x86_64"
} else if cfg!(target_arch = "aarch64") {
    "aarch64"
} else {
    ""
};

fn uname(texts: &Texts, writer: &mut Writer) {
    if texts.0.is_empty() {
        return;
    }
    let field = |path| texts.get(path).unwrap_or_default();
    let labels = [
        ("domainname", UNNAMED),
        ("machine", MACHINE),
        // Dashboards select machines by this label.
        ("nodename", texts.get(HOSTNAME).unwrap_or(UNNAMED)),
        ("release", field("sys/kernel/osrelease")),
        ("sysname", texts.get("sys/kernel/ostype").unwrap_or("Linux")),
        ("version", field("sys/kernel/version")),
    ];
    let help = "Kernel and name of the host, always 1.";
    per_item(writer, "node_uname_info", Kind::Gauge, help, [(labels, Value::from(1))]);
}

fn os(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("etc/os-release").or_else(|| texts.get("usr/lib/os-release")) else {
        return;
    };
    let field = |key: &str| {
        let line = text.lines().find_map(|line| line.split_once('=').filter(|(n, _)| *n == key));
        line.map_or("", |(_, value)| value.trim_matches(['"', '\'']))
    };
    let labels = [
        ("id", field("ID")),
        ("id_like", field("ID_LIKE")),
        ("name", field("NAME")),
        ("pretty_name", field("PRETTY_NAME")),
        ("version", field("VERSION")),
        ("version_codename", field("VERSION_CODENAME")),
        ("version_id", field("VERSION_ID")),
    ];
    let help = "The distribution, always 1.";
    per_item(writer, "node_os_info", Kind::Gauge, help, [(labels, Value::from(1))]);
    let version = Value::float(field("VERSION_ID").parse::<f64>().ok());
    single(writer, "node_os_version", Kind::Gauge, "Version of the distribution.", version);
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn the_kernel_and_the_distribution_are_written() {
        let files = [("sys/kernel/osrelease", "6.1.0\n"), ("sys/kernel/version", "#1 SMP\n")];
        let hidden = written(&UNAME, &files);
        assert!(
            hidden.contains("nodename=\"(none)\",release=\"6.1.0\",sysname=\"Linux\""),
            "{hidden}"
        );
        let named = written(&UNAME, &[("sys/kernel/hostname", "box\n")]);
        assert!(named.contains("nodename=\"box\""), "{named}");
        let release = "PRETTY_NAME=\"Debian 12\"\nID=debian\nVERSION_ID=\"12\"\n";
        let written = written(&OS, &[("etc/os-release", release)]);
        assert!(written.starts_with("node_os_info{id=\"debian\",id_like=\"\","), "{written}");
        assert!(
            written.contains("pretty_name=\"Debian 12\"")
                && written.ends_with("node_os_version 12\n")
        );
    }
}
