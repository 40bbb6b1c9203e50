//! The environment variables of the test crate, read here and nowhere else.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `FLOE_TEST_REQUIRE` | comma-separated components whose absence is a failure instead of a skipped test |
//! | `FLOE_TEST_S3` | endpoint of a running S3 service, with keys in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` |
//! | `FLOE_TEST_MINIO_IMAGE` | container image of MinIO, default `minio/minio:local`, then `minio/minio:latest` |
//! | `FLOE_TEST_POSTGRES` | URL of a running PostgreSQL, whose user may create schemas and roles |
//! | `FLOE_TEST_POSTGRES_IMAGE` | container image of PostgreSQL, default `postgres:local`, then `postgres:latest` |
//! | `FLOE_TEST_IMAGE` | container image of Floe, default `floe:local` |
//! | `FLOE_TEST_MC_IMAGE` | container image of MinIO's client, default `minio/mc:local`, then `minio/mc:latest` |
//! | `FLOE_TEST_HAPROXY_IMAGE` | container image of HAProxy, default `haproxy:local`, then `haproxy:2.8` |
//! | `FLOE_TEST_BINARY` | the `floe` program to test, default the one cargo built for this run |
//! | `FLOE_TEST_BOOTSTRAP` | a running broker, Floe or not: the client tests use it instead of starting one |
//! | `FLOE_TEST_KILL_ROUNDS` | rounds of the kill -9 loop per store, default 3 |
//! | `FLOE_TEST_SCRIPT` | the one script that is compared with Kafka, default all |
//! | `FLOE_TEST_SEEDS` | how many seeds the simulation runs, default 2,000 |
//! | `FLOE_TEST_SEED` | the one seed the simulation runs instead |

use std::path::PathBuf;

/// Value of an environment variable; unset and empty are the same.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether `FLOE_TEST_REQUIRE` names this component.
pub fn is_required(component: &str) -> bool {
    variable("FLOE_TEST_REQUIRE")
        .is_some_and(|list| list.split(',').any(|name| name.trim() == component))
}

/// The one script of the comparison with Kafka to run.
pub fn script() -> Option<String> {
    variable("FLOE_TEST_SCRIPT")
}

/// Endpoint of an S3 service that the caller runs, such as `http://127.0.0.1:9000`.
pub fn s3_endpoint() -> Option<String> {
    variable("FLOE_TEST_S3")
}

/// Access key and secret key for [`s3_endpoint`]; MinIO's defaults where unset.
pub fn s3_keys() -> (String, String) {
    let key = variable("AWS_ACCESS_KEY_ID").unwrap_or_else(|| "minioadmin".to_owned());
    let secret = variable("AWS_SECRET_ACCESS_KEY").unwrap_or_else(|| "minioadmin".to_owned());
    (key, secret)
}

/// MinIO images to try, in order, as `(name, tag)`.
pub fn minio_images() -> Vec<(String, String)> {
    images("FLOE_TEST_MINIO_IMAGE", "minio/minio")
}

/// URL of a PostgreSQL that the caller runs.
pub fn postgres_url() -> Option<String> {
    variable("FLOE_TEST_POSTGRES")
}

/// PostgreSQL images to try, in order, as `(name, tag)`.
pub fn postgres_images() -> Vec<(String, String)> {
    images("FLOE_TEST_POSTGRES_IMAGE", "postgres")
}

/// PostgreSQL images for the compose file to look for, in order: one that `.ci/postgres-image` made, which the
/// other tests leave alone since its programs are on this machine, else as in the file.
pub fn compose_postgres_images() -> Vec<String> {
    match variable("FLOE_TEST_POSTGRES_IMAGE") {
        Some(image) => vec![image],
        None => vec!["postgres:compose".to_owned(), "postgres:16".to_owned()],
    }
}

/// The image that a variable names, else one built on this machine, else the public one.
fn images(name: &str, image: &str) -> Vec<(String, String)> {
    match variable(name) {
        Some(given) => {
            let (name, tag) = given.rsplit_once(':').unwrap_or((&given, "latest"));
            vec![(name.to_owned(), tag.to_owned())]
        }
        None => ["local", "latest"]
            .map(|tag| (image.to_owned(), tag.to_owned()))
            .into(),
    }
}

/// Image of Floe that the container tests start.
pub fn floe_image() -> String {
    variable("FLOE_TEST_IMAGE").unwrap_or_else(|| "floe:local".to_owned())
}

/// HAProxy images to look for, in order.
pub fn haproxy_images() -> Vec<String> {
    match variable("FLOE_TEST_HAPROXY_IMAGE") {
        Some(image) => vec![image],
        None => vec!["haproxy:local".to_owned(), "haproxy:2.8".to_owned()],
    }
}

/// Images of MinIO's client to look for, in order, as `(name, tag)`.
pub fn mc_images() -> Vec<(String, String)> {
    images("FLOE_TEST_MC_IMAGE", "minio/mc")
}

/// A `floe` program to test instead of the one that was built with the tests.
pub fn binary() -> Option<PathBuf> {
    variable("FLOE_TEST_BINARY").map(PathBuf::from)
}

/// A running broker that the client tests are to use instead of starting their own.
pub fn bootstrap() -> Option<String> {
    variable("FLOE_TEST_BOOTSTRAP")
}

/// Rounds of the kill -9 loop for each store.
///
/// # Panics
///
/// If the variable is not a number.
pub fn kill_rounds() -> usize {
    number("FLOE_TEST_KILL_ROUNDS").unwrap_or(3)
}

/// How many seeds the simulation runs, if it is told.
///
/// # Panics
///
/// If the variable is not a number.
pub fn seeds() -> Option<u64> {
    number("FLOE_TEST_SEEDS")
}

/// The one seed that the simulation runs.
///
/// # Panics
///
/// If the variable is not a number.
pub fn seed() -> Option<u64> {
    number("FLOE_TEST_SEED")
}

/// A number from the environment.
fn number<N: std::str::FromStr<Err: std::fmt::Display>>(name: &str) -> Option<N> {
    variable(name).map(|text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}"))
    })
}

/// Folders of the search path for programs.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the environment"
)]
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default()
}
