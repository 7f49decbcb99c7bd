//! Settings of the frontend service.

#[cfg(feature = "dev")]
use std::path::PathBuf;

use http_semantics::hosts::HostList;
use service::Settings;

use crate::backend::{Backend, EXPECTED};

/// Settings of the frontend service.
pub(crate) struct Config {
    /// The address of the stats service.
    pub(crate) backend: Backend,
    /// Hosts that are answered besides those of loopback.
    pub(crate) hosts: HostList,
    /// The folder to serve in place of what was built in.
    #[cfg(feature = "dev")]
    pub(crate) folder: Option<PathBuf>,
}

impl Config {
    /// Reads the settings.
    pub(crate) fn read(settings: &mut Settings) -> Self {
        Self {
            backend: settings.get_with(
                "BACKEND_SERVICE_URL",
                EXPECTED,
                Backend::default(),
                Backend::parse,
            ),
            hosts: settings.get_with(
                "FRONTEND_HOSTS",
                HostList::EXPECTED,
                HostList::default(),
                HostList::parse,
            ),
            // The folder may come later than the server: the first build takes its time.
            #[cfg(feature = "dev")]
            folder: settings.get_with("FRONTEND_PAGE_FOLDER", "a folder", None, |text| {
                Some(Some(PathBuf::from(text)))
            }),
        }
    }
}
