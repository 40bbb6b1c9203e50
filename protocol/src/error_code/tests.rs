//! The table against the numbers of the protocol guide and against another implementation.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;

use super::*;

/// Those that Floe's own rules name, as the protocol guide numbers them.
#[test]
fn numbers_of_the_protocol_guide() {
    for (code, name) in [
        (-1, "UNKNOWN_SERVER_ERROR"),
        (0, "NONE"),
        (1, "OFFSET_OUT_OF_RANGE"),
        (2, "CORRUPT_MESSAGE"),
        (3, "UNKNOWN_TOPIC_OR_PARTITION"),
        (6, "NOT_LEADER_OR_FOLLOWER"),
        (7, "REQUEST_TIMED_OUT"),
        (10, "MESSAGE_TOO_LARGE"),
        (12, "OFFSET_METADATA_TOO_LARGE"),
        (14, "COORDINATOR_LOAD_IN_PROGRESS"),
        (15, "COORDINATOR_NOT_AVAILABLE"),
        (16, "NOT_COORDINATOR"),
        (22, "ILLEGAL_GENERATION"),
        (23, "INCONSISTENT_GROUP_PROTOCOL"),
        (24, "INVALID_GROUP_ID"),
        (25, "UNKNOWN_MEMBER_ID"),
        (26, "INVALID_SESSION_TIMEOUT"),
        (27, "REBALANCE_IN_PROGRESS"),
        (31, "CLUSTER_AUTHORIZATION_FAILED"),
        (34, "ILLEGAL_SASL_STATE"),
        (35, "UNSUPPORTED_VERSION"),
        (36, "TOPIC_ALREADY_EXISTS"),
        (39, "INVALID_REPLICA_ASSIGNMENT"),
        (42, "INVALID_REQUEST"),
        (45, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
        (47, "INVALID_PRODUCER_EPOCH"),
        (48, "INVALID_TXN_STATE"),
        (50, "INVALID_TRANSACTION_TIMEOUT"),
        (51, "CONCURRENT_TRANSACTIONS"),
        (53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        (55, "OPERATION_NOT_ATTEMPTED"),
        (57, "LOG_DIR_NOT_FOUND"),
        (61, "DELEGATION_TOKEN_AUTH_DISABLED"),
        (68, "NON_EMPTY_GROUP"),
        (69, "GROUP_ID_NOT_FOUND"),
        (74, "FENCED_LEADER_EPOCH"),
        (75, "UNKNOWN_LEADER_EPOCH"),
        (76, "UNSUPPORTED_COMPRESSION_TYPE"),
        (79, "MEMBER_ID_REQUIRED"),
        (82, "FENCED_INSTANCE_ID"),
        (84, "ELECTION_NOT_NEEDED"),
        (87, "INVALID_RECORD"),
        (88, "UNSTABLE_OFFSET_COMMIT"),
        (90, "PRODUCER_FENCED"),
        (91, "RESOURCE_NOT_FOUND"),
        (95, "INVALID_UPDATE_VERSION"),
        (100, "UNKNOWN_TOPIC_ID"),
        (102, "BROKER_ID_NOT_REGISTERED"),
        (103, "INCONSISTENT_TOPIC_ID"),
        (105, "TRANSACTIONAL_ID_NOT_FOUND"),
        (110, "FENCED_MEMBER_EPOCH"),
        (113, "STALE_MEMBER_EPOCH"),
        (120, "TRANSACTION_ABORTABLE"),
        (122, "SHARE_SESSION_NOT_FOUND"),
        (128, "INVALID_REGULAR_EXPRESSION"),
        (129, "REBOOTSTRAP_REQUIRED"),
        (132, "STREAMS_TOPOLOGY_FENCED"),
        (133, "SHARE_SESSION_LIMIT_REACHED"),
    ] {
        assert_eq!(
            ErrorCode::from_code(code).map(ErrorCode::name),
            Some(name),
            "{code}"
        );
    }
}

#[test]
fn numbers_are_dense_and_names_are_unique() {
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
    let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    let messages: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.message()).collect();
    assert_eq!((names.len(), messages.len()), (codes.len(), codes.len()));
    assert_eq!(
        (ErrorCode::from_code(-2), ErrorCode::from_code(134)),
        (None, None)
    );
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_code(i16::from(*code)), Some(*code));
        let words = code.name().to_lowercase().replace('_', "");
        assert_eq!(
            format!("{code:?}").to_lowercase(),
            words,
            "variant and name"
        );
    }
    assert_eq!(ErrorCode::InvalidRecord.to_string(), "INVALID_RECORD (87)");
}

#[test]
fn names_and_retries_agree_with_another_implementation() {
    for code in ErrorCode::ALL {
        match ResponseError::try_from_code(code.code()) {
            None => assert_eq!(*code, ErrorCode::None),
            Some(theirs) => {
                assert_eq!(format!("{code:?}"), format!("{theirs:?}"), "{code}");
                // Kafka 4.2's own `ConcurrentTransactionsException` is retriable.
                let expected = theirs.is_retriable() || *code == ErrorCode::ConcurrentTransactions;
                assert_eq!(code.is_retriable(), expected, "{code}");
            }
        }
    }
}
