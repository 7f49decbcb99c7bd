//! Sources of the route table: settings and files.

use std::path::PathBuf;

use service::{Secret, Settings};

use super::path;
use crate::request::auth::{Auth, Scheme};
use crate::routing::attributes::Attributes;
use crate::routing::route::{self, RouteLine};
use crate::routing::table::AuthenticatedRoute;
use crate::upstream::{CheckPath, Origin, Roots, UpstreamTls};

/// Sources of the route table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    defaults: Vec<RouteLine>,
    configured: Vec<RouteLine>,
    file: Option<PathBuf>,
    secret: Secret,
    /// File with the certificate authorities for upstreams.
    authorities: Option<PathBuf>,
}

impl Table {
    pub(super) fn read(settings: &mut Settings) -> Self {
        const ORIGIN: &str = "a host and a port such as stats:8080, 127.0.0.1:8080 or [::1]:8080";
        let mut default_route = |name, prefix: &str, host, port| {
            let origins =
                vec![settings.get_with(name, ORIGIN, Origin::new(host, port), Origin::parse)];
            let check = CheckPath::parse("/healthz");
            RouteLine {
                prefix: prefix.to_owned(),
                origins,
                check,
                auth: None,
                upgrade: Vec::new(),
                attributes: Attributes::default(),
            }
        };
        let defaults = vec![
            default_route("GATEWAY_STATS", "/stats", "stats", 8080),
            default_route("GATEWAY_FRONTEND", "/", "frontend", 3000),
        ];
        let configured = settings.get_or_explain("GATEWAY_ROUTES", Vec::new(), route::parse);
        let table = Self {
            defaults,
            configured,
            file: path(settings, "GATEWAY_ROUTES_FILE"),
            authorities: path(settings, "GATEWAY_UPSTREAM_CA"),
            secret: Secret::read(settings, ["GATEWAY_SECRET", "GATEWAY_SECRET_FILE"]),
        };
        if let Err(faults) = table.lines() {
            for fault in faults {
                settings.reject(fault);
            }
        }
        table
    }

    /// Builds the current table: files are read each time. `GATEWAY_ROUTES` replaces built-in
    /// routes with the same prefix, and the routes file replaces both.
    ///
    /// # Errors
    /// Returns a message for each fault.
    pub(crate) fn lines(&self) -> Result<Vec<AuthenticatedRoute>, Vec<String>> {
        let mut faults = Vec::new();
        let mut lines = self.defaults.clone();
        let mut merge = |more: Vec<RouteLine>| {
            for route in more {
                match lines.iter_mut().find(|known| known.prefix == route.prefix) {
                    Some(known) => *known = route,
                    None => lines.push(route),
                }
            }
        };
        merge(self.configured.clone());
        if let Some(file) = &self.file {
            let read = std::fs::read_to_string(file).map_err(|error| vec![error.to_string()]);
            // Editors on Windows write a byte order mark.
            match read.and_then(|text| route::parse(text.trim_start_matches('\u{feff}'))) {
                Ok(more) => merge(more),
                Err(more) => faults.extend(
                    more.iter()
                        .map(|fault| format!("GATEWAY_ROUTES_FILE {}: {fault}", file.display())),
                ),
            }
        }
        let needs_roots = self.authorities.is_some() || lines.iter().any(RouteLine::is_tls);
        let roots = needs_roots.then(|| Roots::read(self.authorities.as_deref())).transpose();
        let roots = roots.map_err(|fault| faults.push(fault)).ok().flatten();
        let mut table = Vec::new();
        for line in lines {
            let host = line.attributes.host.as_deref().filter(|_| line.is_tls());
            let tls = host.zip(roots.as_ref());
            let tls = tls.and_then(|(host, roots)| UpstreamTls::new(host, roots));
            match line.auth.map(|scheme| auth(&self.secret, scheme)).transpose() {
                Ok(auth) => table.push(AuthenticatedRoute { line, auth, tls }),
                Err(fault) => faults.push(fault),
            }
        }
        faults.dedup();
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }
}

/// Authentication of a route.
fn auth(secrets: &Secret, scheme: Scheme) -> Result<Auth, String> {
    let Some((name, text)) = secrets.text()? else {
        return Err("a route has auth=, but neither GATEWAY_SECRET nor GATEWAY_SECRET_FILE is set"
            .to_owned());
    };
    Auth::parse(scheme, &text).map_err(|faults| format!("{name}: {faults}"))
}
