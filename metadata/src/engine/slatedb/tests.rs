#![allow(
    clippy::disallowed_methods,
    reason = "measures real time against a real engine"
)]

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::engine::conformance;

/// A store and, for folders, the folder that goes away with it.
struct Store {
    store: Arc<dyn ObjectStore>,
    options: SlateOptions,
    _folder: Option<TempDir>,
}

impl Store {
    fn in_memory() -> Self {
        let store = Arc::new(InMemory::new());
        Self {
            store,
            options: SlateOptions::bucket(),
            _folder: None,
        }
    }

    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        Self {
            store,
            options: SlateOptions::folder(),
            _folder: Some(folder),
        }
    }

    fn engine(&self, clock: Clock) -> SlateEngine {
        let tasks = TaskTracker::new();
        SlateEngine::new(
            Arc::clone(&self.store),
            Path::from("meta"),
            self.options,
            clock,
            tasks,
        )
    }

    fn handles(&self) -> impl Fn() -> Arc<dyn Engine> {
        let engine = self.engine(Clock::system());
        move || Arc::new(engine.clone())
    }
}

mod in_memory {
    use super::*;

    conformance::suite!(Store::in_memory(), #[tokio::test]);
}

mod in_a_folder {
    use super::*;

    conformance::suite!(Store::folder(), #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
}
