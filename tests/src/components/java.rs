//! Kafka's own client library and tools: jars that Maven copies into cargo's target folder once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{missing, program_or_skip};
use crate::program::{Program, artifacts, made_once};

const MAVEN_LIMIT: Duration = Duration::from_secs(600);

/// The jars of one version, and the Java to run them.
#[derive(Debug)]
pub struct Kafka {
    java: PathBuf,
    class_path: String,
}

impl Kafka {
    /// The jars of a version that `compatibility/java` has a project for, or `None` after saying that the
    /// test is skipped.
    ///
    /// # Panics
    ///
    /// If Java, Maven or the jars are missing although `FLOE_TEST_REQUIRE` names `java`.
    pub fn or_skip(version: &str) -> Option<Kafka> {
        // One Maven at a time: two would fill the same local repository.
        static MAVEN: Mutex<()> = Mutex::new(());
        let _turn = MAVEN.lock().unwrap_or_else(PoisonError::into_inner);
        let java = program_or_skip("java", "java")?;
        let maven = program_or_skip("java", "mvn")?;
        let name = format!("kafka-{version}");
        let folder = artifacts(&name);
        let projects = Path::new(env!("CARGO_MANIFEST_DIR")).join("compatibility/java");
        let project = projects.join(&name);
        let recipe =
            std::fs::read_to_string(project.join("pom.xml")).expect("the project has a pom.xml");
        let made = made_once(&folder, &recipe, || {
            let output = format!("-DoutputDirectory={}", folder.display());
            Program::new(maven)
                .args(["-q", "-B", "dependency:copy-dependencies", &output])
                .folder(&project)
                .limit(MAVEN_LIMIT)
                .try_run()
                .map(drop)
        });
        if let Err(why) = made {
            missing(
                "java",
                &format!("Maven could not copy Kafka {version}: {why}"),
            );
            return None;
        }
        Some(Kafka {
            java,
            class_path: format!("{}/*", folder.display()),
        })
    }

    /// A class of the jars, or a source file that uses them.
    pub fn class(&self, class: &str) -> Program {
        Program::new(&self.java)
            .args([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                &self.class_path,
            ])
            .arg(class)
    }
}
