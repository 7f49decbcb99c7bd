//! Network interfaces: `/proc/net/dev` (`proc(5)`).

use std::collections::HashMap;

use super::ParseError;

/// One interface's counters since it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Interface {
    /// Its name.
    pub(crate) name: String,
    /// Whether what it carries goes through another interface as well: sums leave it out.
    pub(crate) stacked: bool,
    /// What came in.
    pub(crate) receive: Counters,
    /// What went out.
    pub(crate) transmit: Counters,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    pub(crate) drops: u64,
}

/// Parses the text of `/proc/net/dev`: sorted by name, without loopback. A line that cannot be
/// understood is left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Interface>, ParseError> {
    if !text.lines().any(is_heading) {
        return Err(ParseError::Missing("bytes"));
    }
    let all = text.lines().filter_map(interface);
    let mut interfaces: Vec<Interface> = all.filter(|interface| interface.name != "lo").collect();
    interfaces.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(interfaces)
}

/// Whether it is the second line, which names the columns.
fn is_heading(line: &str) -> bool {
    line.split_once('|').is_some_and(|(_, columns)| columns.trim_ascii_start().starts_with("bytes"))
}

fn interface(line: &str) -> Option<Interface> {
    // Older kernels leave no space before a large number, and aliases have a colon of their own.
    let (name, columns) = line.rsplit_once(':')?;
    let name = name.trim_ascii();
    let mut figures = [0_u64; 16];
    let mut columns = columns.split_ascii_whitespace();
    for figure in &mut figures {
        *figure = columns.next()?.parse().ok()?;
    }
    // Between these are fifo, frame, compressed and multicast; after them fifo, collisions,
    // carrier and compressed.
    let [bytes, packets, errors, drops, _, _, _, _, ..] = figures;
    let receive = Counters { bytes, packets, errors, drops };
    let [.., bytes, packets, errors, drops, _, _, _, _] = figures;
    let transmit = Counters { bytes, packets, errors, drops };
    (!name.is_empty()).then(|| Interface {
        name: name.to_owned(),
        stacked: is_stacked(name),
        receive,
        transmit,
    })
}

/// What `/sys/class/net` says of an interface (Documentation/ABI/testing/sysfs-class-net).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Links {
    /// Whether a device is behind it, hardware or one of a virtual machine (`device`).
    pub(crate) has_device: bool,
    /// Whether it is made of other interfaces (`lower_*`).
    pub(crate) has_lower: bool,
    /// The interface that it is a part of (`master`).
    pub(crate) master: Option<String>,
}

/// Marks the interfaces whose traffic goes through another of the list as well. `links` has those
/// of which the system tells something; where it tells nothing, names decide.
pub(crate) fn mark_stacked(interfaces: &mut [Interface], links: &HashMap<String, Links>) {
    let of = |name: &str| links.get(name).cloned().unwrap_or_default();
    if !interfaces.iter().any(|interface| links.contains_key(&interface.name)) {
        return;
    }
    if interfaces.iter().any(|interface| of(&interface.name).has_device) {
        // What has no device sends through one that has: bridges, bonds, tunnels, VLANs. A device
        // can be a part of another one (the fast path of a virtual interface), which counts both.
        for interface in interfaces {
            let own = of(&interface.name);
            let is_part = own.master.is_some_and(|master| of(&master).has_device);
            interface.stacked = !own.has_device || is_part;
        }
        return;
    }
    // In a container no interface has a device: the outermost count.
    for interface in &mut *interfaces {
        interface.stacked |= of(&interface.name).has_lower;
    }
    if interfaces.iter().all(|interface| interface.stacked) {
        for interface in interfaces {
            interface.stacked = of(&interface.name).has_lower;
        }
    }
}

/// Whether it is made of others by its name, which is all that this file tells: bridges, bonds,
/// tunnels and virtual networks, the host's ends of containers and machines, and VLANs.
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
    fn every_column_has_its_place() {
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
    fn interfaces_come_by_name_without_loopback() {
        let lines = "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     wlan0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     br-1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(names(lines), ["br-1", "wlan0"]);
    }

    #[test]
    fn what_is_made_of_other_interfaces_is_marked() {
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
    fn where_there_are_devices_only_they_count() {
        let device = Links { has_device: true, ..Links::default() };
        let part = |master: &str| Links { master: Some(master.to_owned()), ..device.clone() };
        let lower = Links { has_lower: true, ..Links::default() };
        let virtual_ones = ["fwln100i0", "tailscale0", "lxdbr0", "podman0", "ztabc", "ppp0", "wg0"];
        let mut all =
            vec![("enp1s0", part("vmbr0")), ("vmbr0", lower.clone()), ("macvlan0", lower)];
        all.extend(virtual_ones.map(|name| (name, Links::default())));
        assert_eq!(counted(&all), ["enp1s0"]);
        // Hyper-V: the synthetic interface counts what its fast path carries.
        assert_eq!(counted(&[("eth0", device.clone()), ("enP1s1", part("eth0"))]), ["eth0"]);
    }

    #[test]
    fn without_devices_the_outermost_count_and_one_that_is_alone_does() {
        let lower = Links { has_lower: true, ..Links::default() };
        let container = [("eth0", Links::default()), ("eth0.5", lower), ("wg0", Links::default())];
        assert_eq!(counted(&container), ["eth0"]);
        assert_eq!(counted(&[("tap0", Links::default())]), ["tap0"]);
    }

    #[test]
    fn a_number_may_touch_the_name_and_an_alias_keeps_its_colon() {
        let lines = "  eth0:123 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     eth0:1: 4 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     eth0:2:5 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(names(lines), ["eth0", "eth0:1", "eth0:2"]);
    }

    #[test]
    fn an_odd_line_is_left_out_and_the_others_stand() {
        let lines = "eth0: 1 2 3\neth1: 1 1 0 0 0 0 0 0 x 1 0 0 0 0 0 0\nnothing\n\
                     : 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                     eth2: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(names(lines), ["eth2"]);
    }

    #[test]
    fn a_namespace_without_interfaces_is_no_error_and_other_text_is() {
        assert_eq!(parse(HEADING), Ok(Vec::new()));
        assert_eq!(parse(""), Err(ParseError::Missing("bytes")));
        assert_eq!(parse("eth0: 1 2 3\n"), Err(ParseError::Missing("bytes")));
    }
}
