//! Root and proc filesystem of the host, mounted below a folder in a separate mount namespace.
#![expect(clippy::print_stderr, reason = "a skipped test is reported")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testing::Service;

use crate::{STATS, stats_once};

/// Script that creates a root of 9 MB in memory with the host's root at /host, like a container
/// engine. The other mounts are only for the dynamic linker.
const CONTAINER: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs -o size=9m tmpfs "$ROOT"
cd "$ROOT"
mkdir host proc lib lib64 usr tmp
mount --rbind / host
if [ -n "$DISK" ]; then
    mount -o loop "$DISK" host/mnt
fi
mount -o bind,ro,remount host
mount --rbind /proc proc
for folder in lib lib64 usr; do
    if [ -e "/$folder" ]; then mount --rbind "/$folder" "$folder"; fi
done
touch stats
mount --bind "$STATS" stats
exec chroot . /stats "$@"
"#;

/// Arguments with which this user can create a mount namespace.
fn unshare() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let probe = Command::new("unshare").args(*way).arg("true").stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    })
}

struct Container {
    folder: PathBuf,
    program: PathBuf,
    has_disk: bool,
}

impl Container {
    fn new(way: &[&str], name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("stats-{name}-{}", std::process::id()));
        let root = folder.join("root");
        fs::create_dir_all(&root).unwrap();
        let disk = folder.join("disk");
        fs::write(&disk, []).unwrap();
        fs::File::options().write(true).open(&disk).unwrap().set_len(8 << 20).unwrap();
        let is_formatted = Command::new("mkfs.ext4").arg("-q").arg(&disk).status();
        // Loop devices require root.
        let has_disk = way.len() == 1 && is_formatted.is_ok_and(|status| status.success());
        let program = folder.join("container");
        let disk = if has_disk { disk.to_str().unwrap() } else { "" };
        let text = format!(
            "#!/bin/sh\nROOT={} DISK={disk} STATS={STATS} exec unshare {} sh -c '{CONTAINER}' sh \"$@\"\n",
            root.display(),
            way.join(" "),
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, program, has_disk }
    }

    fn sample(&self, variables: &[(&str, &str)]) -> serde_json::Value {
        let path = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")];
        let variables = [&path, variables].concat();
        let service = Service::start(self.program.to_str().unwrap(), "STATS_LISTEN", &variables);
        stats_once(&service, |sample| sample.get("filesystems").is_some())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn places(sample: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let filesystems = sample["filesystems"].as_array().unwrap();
    filesystems.iter().map(|one| (text(&one["mount"]), text(&one["kind"]))).collect()
}

#[test]
fn the_hosts_filesystems_have_their_mount_points_and_sizes() {
    let Some(way) = unshare() else {
        eprintln!("skipped: this user may not make mount namespaces");
        return;
    };
    let container = Container::new(way, "host-root");
    let own = container.sample(&[]);
    assert_eq!(places(&own)[0], ("/".to_owned(), "tmpfs".to_owned()), "{own}");
    assert_eq!(own["filesystems"][0]["total_bytes"], 9 << 20);
    for variables in
        [&[("STATS_ROOT", "/host")][..], &[("STATS_ROOT", "/host"), ("STATS_PROC", "/host/proc")]]
    {
        let sample = container.sample(variables);
        assert_eq!(sample["mounts_scope"], "host", "{sample}");
        let root = &sample["filesystems"][0];
        assert_eq!(root["mount"], "/", "{sample}");
        assert_ne!(root["total_bytes"], 9 << 20, "{sample}");
        let disk = places(&sample).into_iter().find(|(mount, _)| mount == "/mnt");
        assert_eq!(disk.is_some(), container.has_disk, "{sample}");
        assert!(!places(&sample).iter().any(|(mount, _)| mount.starts_with("/host")), "{sample}");
    }
}
