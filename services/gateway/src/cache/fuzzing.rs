//! Entry point to the cache's decisions about a response, for the fuzz targets.

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use http::header::SET_COOKIE;

use super::freshness::{Freshness, Moment};
use super::vary::Vary;
use crate::fields::Fields;

/// Evaluates cacheability and `Vary` of a response.
pub(crate) fn decide(status: StatusCode, response: &Fields, request: &Fields) {
    let now = Moment { instant: Instant::now(), unix: SystemTime::UNIX_EPOCH + YEAR * 50 };
    let [for_one, for_all] =
        [true, false].map(|authorised| Freshness::of(status, response, authorised, YEAR, now).ok());
    assert!(for_one.is_none() || for_one == for_all, "a secret makes a response public");
    if for_all.is_some() {
        assert!(!response.contains_key(SET_COOKIE), "a cookie is stored");
    }
    let Some(vary) = Vary::of(response) else { return };
    let variant = vary.variant(request);
    assert_eq!(variant, vary.variant(request), "a request is not like itself");
    if let Some(variant) = variant {
        assert!(vary.accepts_coding_of(request, &variant), "a coding that was not asked for");
    }
}

const YEAR: Duration = Duration::from_hours(365 * 24);
