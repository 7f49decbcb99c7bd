//! Network namespace: all columns of `net/dev`, protocols, sockets, receive queues per processor,
//! and neighbors.

use std::collections::BTreeMap;

use super::{Collector, Kind, PAGE_SIZE, Source, Texts, Value, Writer, is_name, per_item, single};

/// Interfaces: `/proc/net/dev`, with all columns and loopback.
pub(super) const DEVICES: Collector =
    Collector { name: "netdev", source: Source::Network(&["dev"]), write: devices };

/// Protocol counters: `/proc/net/netstat`, `snmp` and `snmp6`
/// (`Documentation/networking/snmp_counter.rst`).
pub(super) const NETSTAT: Collector = Collector {
    name: "netstat",
    source: Source::Network(&["netstat", "snmp", "snmp6"]),
    write: netstat,
};

/// Sockets: `/proc/net/sockstat` and `sockstat6` (`proc_pid_net(5)`).
pub(super) const SOCKSTAT: Collector = Collector {
    name: "sockstat",
    source: Source::Network(&["sockstat", "sockstat6"]),
    write: sockstat,
};

/// Receive queues: `/proc/net/softnet_stat` (`net/core/net-procfs.c`).
pub(super) const SOFTNET: Collector =
    Collector { name: "softnet", source: Source::Network(&["softnet_stat"]), write: softnet };

/// Neighbors: `/proc/net/arp` (`proc_pid_net(5)`).
pub(super) const ARP: Collector =
    Collector { name: "arp", source: Source::Network(&["arp"]), write: arp };

/// Columns of `net/dev` with their names in `node_exporter`.
const COLUMNS: &str = "receive_bytes receive_packets receive_errs receive_drop receive_fifo \
    receive_frame receive_compressed receive_multicast transmit_bytes transmit_packets \
    transmit_errs transmit_drop transmit_fifo transmit_colls transmit_carrier transmit_compressed";

fn devices(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("dev") else { return };
    let rows: BTreeMap<&str, Vec<u64>> = text
        .lines()
        .filter_map(|line| {
            let (name, columns) = line.rsplit_once(':')?;
            let columns = columns.split_ascii_whitespace().map(str::parse);
            let columns: Result<Vec<u64>, _> = columns.collect();
            Some((name.trim(), columns.ok().filter(|columns| columns.len() == 16)?))
        })
        .collect();
    for (index, column) in COLUMNS.split(' ').enumerate() {
        let value = |columns: &Vec<u64>| columns.get(index).copied().into();
        let name = format!("node_network_{column}_total");
        let items = rows.iter().map(|(device, columns)| ([("device", *device)], value(columns)));
        per_item(writer, &name, Kind::Counter, "The column of /proc/net/dev.", items);
    }
}

const TCP: &str = "ActiveOpens InSegs OutSegs OutRsts PassiveOpens RetransSegs CurrEstab";
const UDP: &str = "InDatagrams OutDatagrams NoPorts RcvbufErrors SndbufErrors";

/// Whether `node_exporter` has the counter by default.
fn is_shown(protocol: &str, name: &str) -> bool {
    if ["InErrors", "InErrs"].contains(&name) {
        return true;
    }
    match protocol {
        "Ip" => name == "Forwarding",
        "IpExt" | "Ip6" => ["InOctets", "OutOctets"].contains(&name),
        "Icmp" | "Icmp6" => ["InMsgs", "OutMsgs"].contains(&name),
        "TcpExt" => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || ["TCPSynRetrans", "TCPTimeouts", "TCPOFOQueue", "TCPRcvQDrop"].contains(&name)
        }
        "Tcp" => TCP.split(' ').any(|shown| shown == name),
        "Udp" | "Udp6" => UDP.split(' ').any(|shown| shown == name),
        _ => false,
    }
}

fn netstat(texts: &Texts, writer: &mut Writer) {
    let mut show = |protocol: &str, name: &str, value: &str| {
        if is_shown(protocol, name) && is_name(protocol) {
            let family = format!("node_netstat_{protocol}_{name}");
            let value = Value::float(value.parse::<f64>().ok());
            single(writer, &family, Kind::Untyped, "The counter of the protocol.", value);
        }
    };
    for file in ["netstat", "snmp"] {
        let lines: Vec<&str> = texts.get(file).into_iter().flat_map(str::lines).collect();
        // A line of names precedes each line of values.
        for pair in lines.chunks(2) {
            let &[names, values] = pair else { continue };
            let Some((protocol, names)) = names.split_once(':') else { continue };
            let Some((same, values)) = values.split_once(':') else { continue };
            if same == protocol {
                let names = names.split_ascii_whitespace();
                names.zip(values.split_ascii_whitespace()).for_each(|(n, v)| show(protocol, n, v));
            }
        }
    }
    for line in texts.get("snmp6").into_iter().flat_map(str::lines) {
        // Lines have the form `Udp6InDatagrams    5`.
        let Some((name, value)) = line.split_once(char::is_whitespace) else { continue };
        let Some(digit) = name.find('6') else { continue };
        let (protocol, name) = name.split_at(digit + 1);
        show(protocol, name, value.trim());
    }
}

fn sockstat(texts: &Texts, writer: &mut Writer) {
    for file in ["sockstat", "sockstat6"] {
        for line in texts.get(file).into_iter().flat_map(str::lines) {
            let Some((protocol, pairs)) = line.split_once(':') else { continue };
            let mut pairs = pairs.split_ascii_whitespace();
            while let (Some(name), Some(value)) = (pairs.next(), pairs.next()) {
                let family = format!("node_sockstat_{protocol}_{name}");
                if !is_name(&family) {
                    continue;
                }
                let value = value.parse::<u64>().ok();
                let help = "The figure of /proc/net/sockstat.";
                single(writer, &family, Kind::Gauge, help, value.into());
                if name == "mem" {
                    let bytes = value.zip(texts.number(PAGE_SIZE));
                    let bytes = bytes.and_then(|(pages, size)| pages.checked_mul(size));
                    let help = "Memory of the protocol's sockets.";
                    let family = format!("{family}_bytes");
                    single(writer, &family, Kind::Gauge, help, bytes.into());
                }
            }
        }
    }
}

fn softnet(texts: &Texts, writer: &mut Writer) {
    const COUNTERS: [(usize, &str, &str); 6] = [
        (0, "node_softnet_processed_total", "Packets processed."),
        (1, "node_softnet_dropped_total", "Packets dropped because the queue was full."),
        (2, "node_softnet_times_squeezed_total", "Times that packets were left for later."),
        (8, "node_softnet_cpu_collision_total", "Collisions while sending."),
        (9, "node_softnet_received_rps_total", "Wake-ups by another processor."),
        (10, "node_softnet_flow_limit_count_total", "Times that the flow limit was reached."),
    ];
    let rows: Vec<(String, Vec<u64>)> = texts
        .get("softnet_stat")
        .into_iter()
        .flat_map(str::lines)
        .zip(0_u64..)
        .map(|(line, position)| {
            let columns = line.split_ascii_whitespace();
            let columns: Vec<u64> =
                columns.map_while(|column| u64::from_str_radix(column, 16).ok()).collect();
            // Since Linux 5.10, the thirteenth column is the processor; offline processors have no
            // line.
            (columns.get(12).copied().unwrap_or(position).to_string(), columns)
        })
        .collect();
    for (column, name, help) in COUNTERS {
        let items = rows
            .iter()
            .map(|(cpu, columns)| ([("cpu", cpu.as_str())], columns.get(column).copied().into()));
        per_item(writer, name, Kind::Counter, help, items);
    }
    let backlog = rows
        .iter()
        .map(|(cpu, columns)| ([("cpu", cpu.as_str())], columns.get(11).copied().into()));
    let help = "Packets that wait to be processed.";
    per_item(writer, "node_softnet_backlog_len", Kind::Gauge, help, backlog);
}

fn arp(texts: &Texts, writer: &mut Writer) {
    let mut entries: BTreeMap<&str, u64> = BTreeMap::new();
    for line in texts.get("arp").into_iter().flat_map(str::lines).skip(1) {
        if let Some(device) = line.split_ascii_whitespace().nth(5) {
            *entries.entry(device).or_default() += 1;
        }
    }
    let items = entries.into_iter().map(|(device, count)| ([("device", device)], count.into()));
    per_item(writer, "node_arp_entries", Kind::Gauge, "Neighbors known.", items);
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn every_column_of_every_device_is_written_including_loopback() {
        let text = "Inter-| Receive | Transmit\n face |bytes |bytes\n\
                    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0: 1 2 3\n";
        let written = written(&DEVICES, &[("dev", text)]);
        assert_eq!(written.lines().count(), 16);
        for line in [
            "node_network_receive_bytes_total{device=\"lo\"} 1\n",
            "node_network_receive_multicast_total{device=\"lo\"} 8\n",
            "node_network_transmit_carrier_total{device=\"lo\"} 15\n",
        ] {
            assert!(written.contains(line), "{written}");
        }
    }

    #[test]
    fn the_default_protocol_counters_are_written() {
        let snmp = "Tcp: RtoMin MaxConn ActiveOpens CurrEstab\nTcp: 200 -1 7 3\n\
                    Udp: InDatagrams InErrors\nUdp: 5 1\n";
        let netstat = "TcpExt: SyncookiesSent ListenDrops PruneCalled\nTcpExt: 1 2 3\n";
        let snmp6 = "Ip6InReceives  9\nUdp6InDatagrams  4\nIcmp6OutMsgs 6\n";
        let files = [("netstat", netstat), ("snmp", snmp), ("snmp6", snmp6)];
        let expected = "node_netstat_TcpExt_SyncookiesSent 1\nnode_netstat_TcpExt_ListenDrops 2\n\
                        node_netstat_Tcp_ActiveOpens 7\nnode_netstat_Tcp_CurrEstab 3\n\
                        node_netstat_Udp_InDatagrams 5\nnode_netstat_Udp_InErrors 1\n\
                        node_netstat_Udp6_InDatagrams 4\nnode_netstat_Icmp6_OutMsgs 6\n";
        assert_eq!(written(&NETSTAT, &files), expected);
    }

    #[test]
    fn sockets_queues_and_neighbors_are_counted() {
        let sockstat = "sockets: used 5\nTCP: inuse 1 mem 2\n";
        assert_eq!(
            written(
                &SOCKSTAT,
                &[("sockstat", sockstat), ("sockstat6", "TCP6: inuse 3\n"), (PAGE_SIZE, "16384")]
            ),
            "node_sockstat_sockets_used 5\nnode_sockstat_TCP_inuse 1\nnode_sockstat_TCP_mem 2\n\
             node_sockstat_TCP_mem_bytes 32768\nnode_sockstat_TCP6_inuse 3\n"
        );
        let softnet = "0000000a 00000001 00000002 0 0 0 0 0 0 0 0 00000004 00000003 0 0\n";
        let written_softnet = written(&SOFTNET, &[("softnet_stat", softnet)]);
        assert!(written_softnet.contains("node_softnet_processed_total{cpu=\"3\"} 10\n"));
        assert!(written_softnet.contains("node_softnet_backlog_len{cpu=\"3\"} 4\n"));
        let arp = "IP address HW type Flags HW address Mask Device\n\
                   10.0.0.1 0x1 0x2 00:00:00:00:00:01 * eth0\n10.0.0.2 0x1 0x2 00:00 * eth0\n";
        assert_eq!(written(&ARP, &[("arp", arp)]), "node_arp_entries{device=\"eth0\"} 2\n");
    }
}
