//! The table against the profile Floe advertises: Kafka 4.2's ranges, cut to the keys Floe has.

use super::*;

/// Key, first and last version listed, first flexible version.
const PROFILE: [(i16, i16, i16, Option<i16>); 68] = [
    (0, 0, 13, Some(9)),
    (1, 4, 18, Some(12)),
    (2, 1, 11, Some(6)),
    (3, 0, 13, Some(9)),
    (8, 2, 10, Some(8)),
    (9, 1, 10, Some(6)),
    (10, 0, 6, Some(3)),
    (11, 0, 9, Some(6)),
    (12, 0, 4, Some(4)),
    (13, 0, 5, Some(4)),
    (14, 0, 5, Some(4)),
    (15, 0, 6, Some(5)),
    (16, 0, 5, Some(3)),
    (17, 0, 1, None),
    (18, 0, 4, Some(3)),
    (19, 2, 7, Some(5)),
    (20, 1, 6, Some(4)),
    (21, 0, 2, Some(2)),
    (22, 0, 5, Some(2)),
    (23, 2, 4, Some(4)),
    (24, 0, 5, Some(3)),
    (25, 0, 4, Some(3)),
    (26, 0, 5, Some(3)),
    (27, 1, 2, Some(1)),
    (28, 0, 5, Some(3)),
    (29, 1, 3, Some(2)),
    (30, 1, 3, Some(2)),
    (31, 1, 3, Some(2)),
    (32, 1, 4, Some(4)),
    (33, 0, 2, Some(2)),
    (34, 1, 2, Some(2)),
    (35, 1, 4, Some(2)),
    (36, 0, 2, Some(2)),
    (37, 0, 3, Some(2)),
    (38, 1, 3, Some(2)),
    (39, 1, 2, Some(2)),
    (40, 1, 2, Some(2)),
    (41, 1, 3, Some(2)),
    (42, 0, 2, Some(2)),
    (43, 0, 2, Some(2)),
    (44, 0, 1, Some(1)),
    (45, 0, 1, Some(0)),
    (46, 0, 0, Some(0)),
    (47, 0, 0, None),
    (48, 0, 1, Some(1)),
    (49, 0, 1, Some(1)),
    (50, 0, 0, Some(0)),
    (51, 0, 0, Some(0)),
    (55, 0, 2, Some(0)),
    (57, 0, 2, Some(0)),
    (60, 0, 2, Some(0)),
    (61, 0, 0, Some(0)),
    (64, 0, 0, Some(0)),
    (65, 0, 0, Some(0)),
    (66, 0, 2, Some(0)),
    (68, 0, 1, Some(0)),
    (69, 0, 1, Some(0)),
    (74, 0, 1, Some(0)),
    (75, 0, 0, Some(0)),
    (76, 1, 1, Some(0)),
    (77, 1, 1, Some(0)),
    (78, 1, 2, Some(0)),
    (79, 1, 2, Some(0)),
    (88, 0, 0, Some(0)),
    (89, 0, 0, Some(0)),
    (90, 0, 1, Some(0)),
    (91, 0, 0, Some(0)),
    (92, 0, 0, Some(0)),
];

#[test]
fn the_table_is_the_profile() {
    let row = |api: ApiKey| {
        let versions = api.valid_versions();
        (
            api.to_wire(),
            *versions.start(),
            *versions.end(),
            api.first_flexible(),
        )
    };
    assert_eq!(ApiKey::ALL.map(row), PROFILE);
    for api in ApiKey::ALL {
        assert_eq!(ApiKey::from_wire(api.to_wire()), Some(api));
    }
}

#[test]
fn all_that_is_listed_is_decoded_but_old_produce() {
    for api in ApiKey::ALL {
        let refused: Vec<_> = api
            .valid_versions()
            .filter(|v| !api.can_decode(*v))
            .collect();
        let expected = if api == ApiKey::Produce {
            vec![0, 1, 2]
        } else {
            vec![]
        };
        assert_eq!(refused, expected, "{api}");
        assert!(!api.can_decode(-1) && !api.can_decode(i16::MAX), "{api}");
    }
}

#[test]
fn keys_floe_does_not_have() {
    for key in [
        -1,
        4,
        5,
        6,
        7,
        52,
        71,
        72,
        80,
        81,
        83,
        87,
        93,
        i16::MAX,
        i16::MIN,
    ] {
        assert_eq!(ApiKey::from_wire(key), None, "{key}");
    }
}
