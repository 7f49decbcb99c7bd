//! Attributes of network devices in `/sys/class/net` (Documentation/ABI/testing/sysfs-class-net).

use super::{Collector, Kind, Source, Texts, Value, Writer, kind, per_item};

/// State, speed and queue length of each device.
pub(super) const CLASS: Collector = Collector {
    name: "netclass",
    source: Source::Devices { folder: "class/net", inner: &[""], filter: is_attribute },
    write: class,
};

/// Devices of each bond (Documentation/networking/bonding.rst).
pub(super) const BONDING: Collector = Collector {
    name: "bonding",
    source: Source::Devices {
        folder: "class/net",
        inner: &["bonding", "bonding_slave"],
        filter: |name| ["slaves", "mii_status"].contains(&name),
    },
    write: bonding,
};

/// Numeric attributes, and the family of each without its prefix; a counter ends in `_total`.
const NUMBERS: [(&str, &str, &str); 10] = [
    ("carrier", "carrier", "Whether there is a link."),
    ("carrier_changes", "carrier_changes_total", "Times that the link came or went."),
    ("carrier_down_count", "carrier_down_changes_total", "Times that the link went."),
    ("carrier_up_count", "carrier_up_changes_total", "Times that the link came."),
    ("dormant", "dormant", "Whether the device waits to be used."),
    ("ifindex", "iface_id", "Number of the device."),
    ("iflink", "iface_link", "Number of the device that it is linked to."),
    ("link_mode", "iface_link_mode", "Mode of the link."),
    ("mtu", "mtu_bytes", "The largest packet."),
    ("tx_queue_len", "transmit_queue_length", "Packets that the transmit queue holds."),
];

/// Speeds that mean unknown, as in `ethtool`: drivers and older kernels print -1 as an unsigned
/// number.
const UNKNOWN_SPEEDS: [i64; 4] = [0, -1, 0xffff, 0xffff_ffff];

fn is_attribute(name: &str) -> bool {
    ["operstate", "speed", "duplex"].contains(&name)
        || NUMBERS.iter().any(|(attribute, ..)| *attribute == name)
}

fn class(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    let labeled = || devices.iter().map(|device| (device.name, device));
    for (attribute, name, help) in NUMBERS {
        let items = labeled().map(|(label, device)| {
            let value = device.number(attribute).and_then(|number| u64::try_from(number).ok());
            ([("device", label)], value.into())
        });
        per_item(writer, &format!("node_network_{name}"), kind(name), help, items);
    }
    let up = labeled().map(|(label, device)| {
        let up = device.get("operstate").map(|state| u64::from(state == "up"));
        ([("device", label)], up.into())
    });
    per_item(writer, "node_network_up", Kind::Gauge, "Whether the device is up.", up);
    let speed = labeled().map(|(label, device)| {
        // The unit is Mbit/s.
        let speed = device.number("speed").filter(|speed| !UNKNOWN_SPEEDS.contains(speed));
        let bytes = speed.and_then(|speed| u64::try_from(speed).ok()?.checked_mul(125_000));
        ([("device", label)], bytes.into())
    });
    per_item(writer, "node_network_speed_bytes", Kind::Gauge, "Bytes per second.", speed);
    // Addresses and aliases are private, so they are not labels.
    let information = labeled().map(|(label, device)| {
        let state = device.get("operstate");
        let labels = [
            ("device", label),
            ("duplex", device.get("duplex").unwrap_or("")),
            ("operstate", state.unwrap_or("")),
        ];
        (labels, state.map_or(Value::Unknown, |_| 1.into()))
    });
    let help = "State of the device, always 1.";
    per_item(writer, "node_network_info", Kind::Gauge, help, information);
}

fn bonding(texts: &Texts, writer: &mut Writer) {
    let devices = texts.devices();
    let bonds = || devices.iter().filter_map(|bond| Some((bond.name, bond.get("slaves")?)));
    let slaves = bonds().map(|(master, slaves)| {
        ([("master", master)], (slaves.split_ascii_whitespace().count() as u64).into())
    });
    let help = "Devices configured in the bond.";
    per_item(writer, "node_bonding_slaves", Kind::Gauge, help, slaves);
    // Each slave reports its own state. Not all devices of a large machine are read.
    let is_up = |slave: &str| {
        let device = devices.iter().find(|device| device.name == slave)?;
        Some(u64::from(device.get("mii_status")? == "up"))
    };
    let active = bonds().map(|(master, slaves)| {
        let up: Option<u64> = slaves.split_ascii_whitespace().map(is_up).sum();
        ([("master", master)], up.into())
    });
    let help = "Devices of the bond that are up.";
    per_item(writer, "node_bonding_active", Kind::Gauge, help, active);
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn a_device_has_a_state_a_speed_and_an_mtu() {
        let files = [
            ("eth0/operstate", "up\n"),
            ("eth0/speed", "1000\n"),
            ("eth0/mtu", "1500\n"),
            ("eth0/carrier", "1\n"),
            ("eth0/duplex", "full\n"),
            ("eth1/speed", "4294967295\n"),
            ("eth2/speed", "65535\n"),
            ("eth3/speed", "0\n"),
            ("wlan0/speed", "-1\n"),
            ("wlan0/operstate", "down\n"),
        ];
        let expected = "node_network_carrier{device=\"eth0\"} 1\n\
                        node_network_mtu_bytes{device=\"eth0\"} 1500\n\
                        node_network_up{device=\"eth0\"} 1\nnode_network_up{device=\"wlan0\"} 0\n\
                        node_network_speed_bytes{device=\"eth0\"} 125000000\n\
                        node_network_info{device=\"eth0\",duplex=\"full\",operstate=\"up\"} 1\n\
                        node_network_info{device=\"wlan0\",duplex=\"\",operstate=\"down\"} 1\n";
        assert_eq!(written(&CLASS, &files), expected);
    }

    #[test]
    fn a_bond_counts_its_slaves_and_the_active_ones() {
        let files = [
            ("bond0/slaves", "eth0 eth1\n"),
            ("bond0/mii_status", "up\n"),
            ("eth0/mii_status", "up\n"),
            ("eth1/mii_status", "down\n"),
            ("bond1/slaves", "eth0 eth4999\n"),
        ];
        let expected = "node_bonding_slaves{master=\"bond0\"} 2\n\
                        node_bonding_slaves{master=\"bond1\"} 2\n\
                        node_bonding_active{master=\"bond0\"} 1\n";
        assert_eq!(written(&BONDING, &files), expected);
    }
}
