//! The chart in `deploy/helm/floe`: what `helm` makes of it, with few and with all options.

use std::path::{Path, PathBuf};

use floe_tests::components::program_or_skip;
use floe_tests::program::Program;
use yaml_rust2::{Yaml, YamlLoader};

/// A chart does not know the cluster when it is rendered; `helm` would assume one of long ago.
const KUBERNETES: &str = "1.30.0";

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/floe")
}

/// Runs `helm COMMAND` on the chart.
fn helm(helm: &Path, command: &[&str], values: &[&str]) -> Result<String, String> {
    let program = Program::new(helm)
        .args(command)
        .arg(chart())
        .args(["--kube-version", KUBERNETES])
        .args(values);
    program.try_run().map(|finished| finished.output)
}

fn example(name: &str) -> String {
    chart().join("examples").join(name).display().to_string()
}

/// What the chart renders to, by kind and name.
fn render(path: &Path, values: &[&str]) -> Vec<Yaml> {
    let text = helm(path, &["template", "t", "--namespace", "n"], values);
    let text = text.unwrap_or_else(|error| panic!("{values:?}: {error}"));
    let objects = YamlLoader::load_from_str(&text).unwrap();
    objects
        .into_iter()
        .filter(|object| !object.is_null())
        .collect()
}

fn of_kind<'a>(objects: &'a [Yaml], kind: &str) -> Vec<&'a Yaml> {
    let is_kind = |object: &&Yaml| object["kind"].as_str() == Some(kind);
    objects.iter().filter(is_kind).collect()
}

fn the<'a>(objects: &'a [Yaml], kind: &str) -> &'a Yaml {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn args(deployment: &Yaml) -> Vec<&str> {
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let args = args.as_vec().unwrap().iter();
    args.map(|arg| arg.as_str().unwrap()).collect()
}

#[test]
fn it_passes_lint_with_every_example() {
    let Some(path) = program_or_skip("helm", "helm") else {
        return;
    };
    for values in ["everything.yaml", "keda.yaml"] {
        let linted = helm(
            &path,
            &["lint", "--strict"],
            &["--values", &example(values)],
        );
        linted.unwrap_or_else(|error| panic!("{values}: {error}"));
    }
    helm(&path, &["lint", "--strict"], &["--set", "store=s3://b"]).unwrap();
}

#[test]
fn few_options_make_a_cluster() {
    let Some(path) = program_or_skip("helm", "helm") else {
        return;
    };
    let objects = render(&path, &["--set", "store=s3://bucket/prefix"]);
    let deployment = the(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"].as_i64(), Some(3));
    let expected = [
        "--store=s3://bucket/prefix",
        "--listen=0.0.0.0:9092",
        "--advertise=t-floe.n.svc:9092",
        "--http=0.0.0.0:9080",
        "--internal=$(POD_IP):9090",
        "--log=info",
    ];
    assert_eq!(args(deployment), expected);
    check_pods(deployment);
    check_selectors(&objects, deployment);
    assert_eq!(of_kind(&objects, "Service").len(), 2);
    for kind in ["HorizontalPodAutoscaler", "ScaledObject", "Secret"] {
        assert_eq!(of_kind(&objects, kind), Vec::<&Yaml>::new(), "{kind}");
    }
}

#[test]
fn all_options_are_where_they_belong() {
    let Some(path) = program_or_skip("helm", "helm") else {
        return;
    };
    let objects = render(&path, &["--values", &example("everything.yaml")]);
    let deployment = the(&objects, "Deployment");
    // The autoscaler decides.
    assert!(deployment["spec"]["replicas"].is_badvalue());
    let args = args(deployment);
    for arg in [
        "--store=gs://my-bucket/cluster-1",
        "--advertise=kafka.example:9092",
        "--memory-limit=600MiB",
        "--set=num.partitions=4",
        "--set=auto.create.topics.enable=false",
        "--flush-interval=100ms",
    ] {
        assert!(args.contains(&arg), "{arg} is not in {args:?}");
    }
    check_pods(deployment);
    check_selectors(&objects, deployment);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["image"].as_str(),
        Some("registry.example/floe:v1")
    );
    let names = container["env"].as_vec().unwrap().iter();
    let names: Vec<_> = names.map(|entry| entry["name"].as_str().unwrap()).collect();
    for name in [
        "FLOE_METADATA",
        "FLOE_ZONE",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let autoscaler = the(&objects, "HorizontalPodAutoscaler");
    assert_eq!(autoscaler["spec"]["minReplicas"].as_i64(), Some(3));
    let balancer = of_kind(&objects, "Service")[0];
    assert_eq!(balancer["spec"]["type"].as_str(), Some("LoadBalancer"));
    let account = the(&objects, "ServiceAccount");
    assert!(!account["metadata"]["annotations"].is_badvalue());
}

#[test]
fn keda_may_scale_to_none() {
    let Some(path) = program_or_skip("helm", "helm") else {
        return;
    };
    let objects = render(&path, &["--values", &example("keda.yaml")]);
    let scaled = &the(&objects, "ScaledObject")["spec"];
    assert_eq!(scaled["minReplicaCount"].as_i64(), Some(0));
    assert_eq!(scaled["scaleTargetRef"]["name"].as_str(), Some("t-floe"));
    assert_eq!(scaled["triggers"].as_vec().unwrap().len(), 2);
    assert!(the(&objects, "Deployment")["spec"]["replicas"].is_badvalue());
}

#[test]
fn what_makes_no_cluster_is_refused() {
    let Some(path) = program_or_skip("helm", "helm") else {
        return;
    };
    for (values, word) in [
        (vec![], "store is not set"),
        (vec!["store=file:/data"], "store"),
        (vec!["store=s3://b", "replica=2"], "replica"),
        (vec!["store=s3://b", "service.type=Sideways"], "service"),
        (vec!["store=s3://b", "keda.enabled=true"], "keda.triggers"),
        (
            vec!["store=s3://b", "preStopSleepSeconds=10"],
            "terminationGracePeriodSeconds",
        ),
    ] {
        let set: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
        let error = helm(&path, &["template", "t"], &set).unwrap_err();
        assert!(error.contains(word), "{values:?}: {error}");
    }
}

/// What holds for every pod: no rights, probes, and time for a drain.
fn check_pods(deployment: &Yaml) {
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(security["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(security["capabilities"]["drop"][0].as_str(), Some("ALL"));
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some(path));
    }
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() >= 30);
    let spread = pod["topologySpreadConstraints"].as_vec().unwrap();
    assert_eq!(spread.len(), 2);
}

/// Everything that selects pods selects these.
fn check_selectors(objects: &[Yaml], deployment: &Yaml) {
    let labels = deployment["spec"]["template"]["metadata"]["labels"].as_hash();
    let labels = labels.unwrap();
    let services = of_kind(objects, "Service");
    let mut selectors: Vec<&Yaml> = services.iter().map(|s| &s["spec"]["selector"]).collect();
    selectors.push(&deployment["spec"]["selector"]["matchLabels"]);
    selectors.push(&the(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]);
    for selector in selectors {
        for (name, value) in selector.as_hash().unwrap() {
            assert_eq!(labels.get(name), Some(value), "{name:?}");
        }
    }
}
