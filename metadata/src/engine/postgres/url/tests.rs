use super::*;

#[test]
fn urls_are_read_and_shown_without_their_password() {
    for (url, shown) in [
        ("postgres://u:secret@h/d", "postgres://u@h:5432/d"),
        ("postgresql://u:secret@h:6432/d", "postgres://u@h:6432/d"),
        (
            "postgres://u:secret@a:1,b:2/d?sslmode=require",
            "postgres://u@a:1,b:2/d",
        ),
        (
            "postgres://u@[::1]:7/d?connect_timeout=3&password=secret",
            "postgres://u@[::1]:7/d",
        ),
        (
            "postgres://u:se%2Fcret@h/d?options=-c%20search_path%3Dx",
            "postgres://u@h:5432/d",
        ),
    ] {
        let parsed: PostgresUrl = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(parsed.to_string(), shown, "{url}");
        assert!(!format!("{parsed:?}").contains("secret"), "{url}");
    }
}

#[test]
fn what_is_no_url_is_refused_without_repeating_a_password() {
    for (url, words) in [
        ("slatedb:", "postgres://"),
        ("mysql://u:secret@h/d", "postgres://"),
        ("postgres://u:secret@h", "no database"),
        ("postgres://u:secret@h/", "no database"),
        ("postgres:///d?user=u&password=secret", "no host"),
        ("postgres://u:secret@h/d?sslmode=allow", "allow"),
        ("postgres://u:secret@h:port/d", "port"),
        ("postgres://u:secret@h/d?nonsense=1", "nonsense"),
        ("postgres://u:secret@h/d?sslrootcert=%4", "percent"),
    ] {
        let refused = url.parse::<PostgresUrl>().expect_err(url).to_string();
        assert!(refused.contains(words), "{url}: {refused}");
        assert!(!refused.contains("secret"), "{url}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{url}: {refused}");
    }
}

#[test]
fn ssl_modes_mean_what_they_mean_to_libpq() {
    let file = || Roots::File(PathBuf::from("/a b.pem"));
    for (options, mode, trust) in [
        ("", SslMode::Prefer, Trust::Anyone),
        ("?sslmode=disable", SslMode::Disable, Trust::Anyone),
        ("?sslmode=require", SslMode::Require, Trust::Anyone),
        (
            "?sslmode=require&sslrootcert=/a%20b.pem",
            SslMode::Require,
            Trust::Authority(file()),
        ),
        (
            "?sslmode=verify-ca&sslrootcert=/a%20b.pem",
            SslMode::Require,
            Trust::Authority(file()),
        ),
        (
            "?sslmode=verify-full",
            SslMode::Require,
            Trust::Name(Roots::System),
        ),
        (
            "?sslrootcert=system&sslmode=verify-full",
            SslMode::Require,
            Trust::Name(Roots::System),
        ),
    ] {
        let url: PostgresUrl = format!("postgres://u@h/d{options}").parse().unwrap();
        assert_eq!(url.config().get_ssl_mode(), mode, "{options}");
        assert_eq!(*url.trust(), trust, "{options}");
    }
}

#[test]
fn of_several_servers_the_one_that_takes_writes_is_used() {
    for (url, attributes) in [
        ("postgres://u@a/d", TargetSessionAttrs::Any),
        ("postgres://u@a,b/d", TargetSessionAttrs::ReadWrite),
    ] {
        let parsed: PostgresUrl = url.parse().unwrap();
        assert_eq!(
            parsed.config().get_target_session_attrs(),
            attributes,
            "{url}"
        );
    }
}
