//! Kafka's own client library and tools: jars that Maven copies into cargo's target folder once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{missing, program};
use crate::program::{Program, artifacts, made_once};
use crate::say::say;

const MAVEN_LIMIT: Duration = Duration::from_secs(600);

/// The jars of one version, and the Java to run them.
#[derive(Clone, Debug)]
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
        match Kafka::in_folder(version, &artifacts(&format!("kafka-{version}"))) {
            Ok(kafka) => {
                say(&format!("java: {}", kafka.java.display()));
                Some(kafka)
            }
            Err(why) => {
                missing("java", &why);
                None
            }
        }
    }

    /// The same with the jars in `folder`, copied there by Maven unless they are.
    ///
    /// # Errors
    ///
    /// What is missing, or what Maven said.
    ///
    /// # Panics
    ///
    /// If there is no project for that version.
    pub fn in_folder(version: &str, folder: &Path) -> Result<Kafka, String> {
        // One Maven at a time: two would fill the same local repository.
        static MAVEN: Mutex<()> = Mutex::new(());
        let _turn = MAVEN.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |name| program(name).ok_or_else(|| format!("no `{name}` on the PATH"));
        let (java, maven) = (found("java")?, found("mvn")?);
        let projects = Path::new(env!("CARGO_MANIFEST_DIR")).join("compatibility/java");
        let project = projects.join(format!("kafka-{version}"));
        let recipe =
            std::fs::read_to_string(project.join("pom.xml")).expect("the project has a pom.xml");
        let made = made_once(folder, &recipe, || {
            let output = format!("-DoutputDirectory={}", folder.display());
            Program::new(maven)
                .args(["-q", "-B", "dependency:copy-dependencies", &output])
                .folder(&project)
                .limit(MAVEN_LIMIT)
                .try_run()
                .map(drop)
        });
        made.map_err(|why| format!("Maven could not copy Kafka {version}: {why}"))?;
        Ok(Kafka {
            java,
            class_path: format!("{}/*", folder.display()),
        })
    }

    /// A class of the jars, or a source file that uses them.
    pub fn class(&self, class: &str) -> Program {
        self.class_on(&[], class)
    }

    /// The same with options for the Java machine.
    pub fn class_on(&self, options: &[&str], class: &str) -> Program {
        Program::new(&self.java)
            .args(options)
            .args([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                &self.class_path,
            ])
            .arg(class)
    }
}
