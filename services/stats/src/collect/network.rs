//! Network interfaces: `/proc/net/dev` (`proc(5)`).

use std::collections::HashMap;

use super::ParseError;

/// Counters of one interface since its creation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Interface {
    /// Name.
    pub(crate) name: String,
    /// Whether another interface carries the same traffic; sums exclude this one.
    pub(crate) stacked: bool,
    /// Received traffic.
    pub(crate) receive: Counters,
    /// Sent traffic.
    pub(crate) transmit: Counters,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    pub(crate) drops: u64,
}

/// Parses the text of `/proc/net/dev`; the result is sorted by name and has no loopback interface.
/// Invalid lines are skipped.
pub(crate) fn parse(text: &str) -> Result<Vec<Interface>, ParseError> {
    if !text.lines().any(is_heading) {
        return Err(ParseError::Missing("bytes"));
    }
    let all = text.lines().filter_map(interface);
    let mut interfaces: Vec<Interface> = all.filter(|interface| interface.name != "lo").collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(interfaces)
}

/// Whether a line is the second one of the heading, which has the column names.
fn is_heading(line: &str) -> bool {
    line.split_once('|').is_some_and(|(_, columns)| columns.trim_ascii_start().starts_with("bytes"))
}

fn interface(line: &str) -> Option<Interface> {
    // Older kernels write no space before a large number, and aliases contain a colon.
    let (name, columns) = line.rsplit_once(':')?;
    let name = name.trim_ascii();
    let mut values = [0_u64; 16];
    let mut columns = columns.split_ascii_whitespace();
    for value in &mut values {
        *value = columns.next()?.parse().ok()?;
    }
    // The columns in between are fifo, frame, compressed and multicast; the last ones are fifo,
    // collisions, carrier and compressed.
    let [bytes, packets, errors, drops, _, _, _, _, ..] = values;
    let receive = Counters { bytes, packets, errors, drops };
    let [.., bytes, packets, errors, drops, _, _, _, _] = values;
    let transmit = Counters { bytes, packets, errors, drops };
    (!name.is_empty()).then(|| Interface {
        name: name.to_owned(),
        stacked: is_stacked(name),
        receive,
        transmit,
    })
}

/// Attributes of an interface in `/sys/class/net` (Documentation/ABI/testing/sysfs-class-net).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Links {
    /// Whether it has a physical or virtual device (`device`).
    pub(crate) has_device: bool,
    /// Whether it consists of other interfaces (`lower_*`).
    pub(crate) has_lower: bool,
    /// Interface that it is a part of (`master`).
    pub(crate) master: Option<String>,
    /// Whether it connects to a switch chip, whose ports are interfaces too (`dsa`).
    pub(crate) has_switch: bool,
    /// Number of its type (`type`); 0 if unknown.
    pub(crate) kind: u32,
}

/// Types of tunnels (`include/uapi/linux/if_arp.h`): PPP, IP in IP, SIT, GRE, and those that carry
/// IP only, such as `WireGuard` and TUN devices.
const TUNNELS: [u32; 7] = [512, 768, 769, 776, 778, 823, 65534];

/// Marks interfaces whose traffic another listed interface carries as well. `links` contains the
/// interfaces found in sysfs; without any, the marks by name stay.
pub(crate) fn mark_stacked(interfaces: &mut [Interface], links: &HashMap<String, Links>) {
    let of = |name: &str| links.get(name).cloned().unwrap_or_default();
    if !interfaces.iter().any(|interface| links.contains_key(&interface.name)) {
        return;
    }
    if interfaces.iter().any(|interface| of(&interface.name).has_device) {
        // Interfaces without a device send through one that has a device: bridges, bonds, tunnels,
        // VLANs. A device can be a part of another one (the fast path of a virtual interface),
        // which counts the traffic of both, or carry the traffic of the ports of a switch.
        for interface in interfaces {
            let own = of(&interface.name);
            let is_part = own.master.is_some_and(|master| of(&master).has_device);
            interface.stacked = !own.has_device || is_part || own.has_switch;
        }
        return;
    }
    // In a container, no interface has a device, so the outermost ones count.
    for interface in &mut *interfaces {
        let own = of(&interface.name);
        interface.stacked |= own.has_lower || TUNNELS.contains(&own.kind);
    }
    if interfaces.iter().all(|interface| interface.stacked) {
        for interface in interfaces {
            interface.stacked = of(&interface.name).has_lower;
        }
    }
}

/// Whether the name means that the interface consists of others: bridges, bonds, tunnels, virtual
/// networks, host ends of containers and virtual machines, and VLANs. `/proc/net/dev` has only
/// names.
fn is_stacked(name: &str) -> bool {
    const KINDS: [&str; 18] = [
        "bond", "br", "cali", "cilium", "cni", "docker", "dummy", "flannel", "ifb", "lxc", "tap",
        "team", "tun", "veth", "virbr", "vnet", "vxlan", "wg",
    ];
    name.contains('.') || KINDS.iter().any(|kind| name.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
";

    fn names(lines: &str) -> Vec<String> {
        let interfaces = parse(&format!("{HEADING}{lines}")).unwrap();
        interfaces.into_iter().map(|interface| interface.name).collect()
    }

    #[test]
    fn every_column_is_assigned_to_its_field() {
        let text = format!("{HEADING}  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        let expected = Interface {
            name: "eth0".to_owned(),
            stacked: false,
            receive: Counters { bytes: 1, packets: 2, errors: 3, drops: 4 },
            transmit: Counters { bytes: 9, packets: 10, errors: 11, drops: 12 },
        };
        assert_eq!(parse(&text), Ok(vec![expected]));
    }

    #[test]
    fn interfaces_are_sorted_by_name_without_loopback() {
        let lines = "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     wlan0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     br-1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(names(lines), ["br-1", "wlan0"]);
    }

    #[test]
    fn interfaces_that_consist_of_others_are_marked() {
        for name in ["docker0", "br-0a1b", "veth12ab", "eth0.100", "bond0", "ifb0", "wg0"] {
            assert!(is_stacked(name), "{name}");
        }
        for name in ["eth0", "ens5", "enp3s0", "wlan0", "eno1", "ib0"] {
            assert!(!is_stacked(name), "{name}");
        }
    }

    fn counted(all: &[(&str, Links)]) -> Vec<String> {
        let interface = |(name, _): &(&str, Links)| Interface {
            name: (*name).to_owned(),
            stacked: is_stacked(name),
            ..Interface::default()
        };
        let mut interfaces: Vec<_> = all.iter().map(interface).collect();
        let links = all.iter().map(|(name, links)| ((*name).to_owned(), links.clone())).collect();
        mark_stacked(&mut interfaces, &links);
        interfaces.retain(|interface| !interface.stacked);
        interfaces.into_iter().map(|interface| interface.name).collect()
    }

    #[test]
    fn only_devices_count_if_there_are_any() {
        let device = Links { has_device: true, ..Links::default() };
        let part = |master: &str| Links { master: Some(master.to_owned()), ..device.clone() };
        let lower = Links { has_lower: true, ..Links::default() };
        let virtual_ones = ["fwln100i0", "tailscale0", "lxdbr0", "podman0", "ztabc", "ppp0", "wg0"];
        let mut all =
            vec![("enp1s0", part("vmbr0")), ("vmbr0", lower.clone()), ("macvlan0", lower)];
        all.extend(virtual_ones.map(|name| (name, Links::default())));
        assert_eq!(counted(&all), ["enp1s0"]);
        // On Hyper-V, the counters of the synthetic interface include its fast path.
        assert_eq!(counted(&[("eth0", device.clone()), ("enP1s1", part("eth0"))]), ["eth0"]);
        // On a router with a switch chip, the traffic of all ports passes one interface.
        let lan = Links { has_lower: true, ..part("br-lan") };
        let conduit = Links { has_switch: true, ..device.clone() };
        let router = [("br-lan", Links::default()), ("eth0", conduit), ("lan1", lan)];
        assert_eq!(counted(&router), ["lan1"]);
    }

    #[test]
    fn without_devices_the_outermost_interfaces_count() {
        let lower = Links { has_lower: true, ..Links::default() };
        let container = [("eth0", Links::default()), ("eth0.5", lower), ("wg0", Links::default())];
        assert_eq!(counted(&container), ["eth0"]);
        let tunnel = Links { kind: 65534, ..Links::default() };
        let vpn = [("eth0", Links::default()), ("tailscale0", tunnel.clone())];
        assert_eq!(counted(&vpn), ["eth0"]);
        assert_eq!(counted(&[("tailscale0", tunnel)]), ["tailscale0"]);
        assert_eq!(counted(&[("tap0", Links::default())]), ["tap0"]);
    }

    #[test]
    fn a_number_may_follow_the_name_directly_and_an_alias_keeps_its_colon() {
        let lines = "  eth0:123 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     eth0:1: 4 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     eth0:2:5 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(names(lines), ["eth0", "eth0:1", "eth0:2"]);
    }

    #[test]
    fn an_invalid_line_is_skipped() {
        let lines = "eth0: 1 2 3\neth1: 1 1 0 0 0 0 0 0 x 1 0 0 0 0 0 0\nnothing\n\
                     : 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     eth2: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(names(lines), ["eth2"]);
    }

    #[test]
    fn a_namespace_without_interfaces_is_valid_and_other_text_is_an_error() {
        assert_eq!(parse(HEADING), Ok(Vec::new()));
        assert_eq!(parse(""), Err(ParseError::Missing("bytes")));
        assert_eq!(parse("eth0: 1 2 3\n"), Err(ParseError::Missing("bytes")));
    }
}
