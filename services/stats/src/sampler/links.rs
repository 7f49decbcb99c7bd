//! Attributes of an interface in `/sys/class/net`.

use std::fs;
use std::path::Path;

use crate::collect::network::Links;

/// Reads the attributes in the folder of an interface; `None` if there is no such folder. `before` are
/// those of the last time.
pub(super) fn read(folder: &Path, before: Option<&Links>) -> Option<Links> {
    let mut names = fs::read_dir(folder).ok()?.flatten().map(|file| file.file_name());
    let target = |link: &str| {
        let target = fs::read_link(folder.join(link)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    let kind = fs::read_to_string(folder.join("type")).unwrap_or_default();
    // The host's end of a virtual machine's interface is a device of Xen.
    let is_backend = target("device/subsystem").is_some_and(|bus| bus == "xen-backend");
    // Neither is the host's end of a virtual function a port of the machine: `pf0vf1`
    // (Documentation/networking/representors.rst). The kernel reads the name under the lock of all
    // interfaces, so that it is read once for each port.
    let is_port = || {
        if before.is_some_and(|before| before.has_device) {
            return true;
        }
        let name = fs::read_to_string(folder.join("phys_port_name"));
        !name.is_ok_and(|name| name.contains("pf"))
    };
    Some(Links {
        has_device: !is_backend && folder.join("device").exists() && is_port(),
        has_lower: names.any(|name| name.as_encoded_bytes().starts_with(b"lower_")),
        master: target("master"),
        has_switch: folder.join("dsa").exists(),
        kind: kind.trim().parse().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_of_an_interface_are_those_in_its_folder() {
        let root = std::env::temp_dir().join(format!("stats-links-{}", std::process::id()));
        let folder = |name: &str, kind: &str| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("type"), kind).unwrap();
            folder
        };
        assert_eq!(read(&root.join("gone"), None), None);
        let tunnel = Links { kind: 65534, ..Links::default() };
        assert_eq!(read(&folder("tailscale0", "65534\n"), None), Some(tunnel));
        let ports = folder("eth0", "1\n");
        fs::create_dir(ports.join("device")).unwrap();
        std::os::unix::fs::symlink("../br0", ports.join("master")).unwrap();
        let master = Some("br0".to_owned());
        let expected = Links { has_device: true, master, kind: 1, ..Links::default() };
        assert_eq!(read(&ports, None), Some(expected.clone()));
        std::os::unix::fs::symlink("/bus/xen", ports.join("device/subsystem")).unwrap();
        assert_eq!(read(&ports, None), Some(expected.clone()));
        fs::remove_file(ports.join("device/subsystem")).unwrap();
        std::os::unix::fs::symlink("/bus/xen-backend", ports.join("device/subsystem")).unwrap();
        let backend = Links { has_device: false, ..expected };
        assert_eq!(read(&ports, None), Some(backend));
        fs::remove_file(ports.join("device/subsystem")).unwrap();
        for (port, is_port) in [("p0\n", true), ("pf0vf1\n", false), ("c1pf0sf2\n", false)] {
            fs::write(ports.join("phys_port_name"), port).unwrap();
            assert_eq!(read(&ports, None).unwrap().has_device, is_port, "{port}");
        }
        let port = Links { has_device: true, ..Links::default() };
        assert!(read(&ports, Some(&port)).unwrap().has_device);
        assert!(!read(&ports, Some(&Links::default())).unwrap().has_device);
        let bridge = folder("br0", "1\n");
        std::os::unix::fs::symlink("../eth0", bridge.join("lower_eth0")).unwrap();
        let expected = Links { has_lower: true, kind: 1, ..Links::default() };
        assert_eq!(read(&bridge, None), Some(expected));
        fs::remove_dir_all(&root).unwrap();
    }
}
