//! Kafka's error codes (protocol guide, "Error Codes"), as of 4.2: number, name, whether a client may repeat the
//! request, and a sentence of our own for logs and answers. Which code a failure gets is decided where the failure
//! is mapped (`agent/src/error.rs`), not here.

/// Builds the enum and its look-ups from one row per code.
macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal $retriable:literal $message:literal;)*) => {
        /// An error code of the Kafka protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = $message]
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// Every code, ascending.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code of a number from the wire, if Kafka 4.2 has it.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, `UNKNOWN_TOPIC_OR_PARTITION`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether Kafka's clients repeat a request that got this code.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$variant => $retriable,)*
                }
            }

            /// What it means, in lower case without a full stop.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }
        }
    };
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.code()
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" false "the server met an unexpected error";
    0 None "NONE" false "no error";
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" false "the offset is outside the range of the partition";
    2 CorruptMessage "CORRUPT_MESSAGE" true "the records fail their checksum or are malformed";
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" true "This server does not host this topic-partition.";
    4 InvalidFetchSize "INVALID_FETCH_SIZE" false "the fetch size is not valid";
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" true "there is no leader for the partition now";
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" true "this broker does not lead the partition";
    7 RequestTimedOut "REQUEST_TIMED_OUT" true "the request took longer than it may";
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" false "the broker is not available";
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" true "the replica is not available";
    10 MessageTooLarge "MESSAGE_TOO_LARGE" false "the message or batch is larger than allowed";
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" false "the controller epoch is not the newest";
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" false "the metadata of the offset commit is too long";
    13 NetworkException "NETWORK_EXCEPTION" true "the connection broke before the answer";
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" true "the coordinator is loading its state";
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" true "the coordinator is not available";
    16 NotCoordinator "NOT_COORDINATOR" true "this broker is not the coordinator";
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION" false "the topic name is not valid";
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" false "the records are larger than the segment size";
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" true "too few in-sync replicas";
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" true "too few in-sync replicas after the append";
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" false "acks is none of -1, 0 and 1";
    22 IllegalGeneration "ILLEGAL_GENERATION" false "the generation is not the group's";
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" false "no protocol in common with the group";
    24 InvalidGroupId "INVALID_GROUP_ID" false "the group id is not valid";
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" false "the member is not known to the group";
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" false "the session timeout is outside the allowed range";
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" false "the group is rebalancing, rejoin";
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" false "the offset commit is too large";
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" false "not authorized to access the topic";
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" false "not authorized to access the group";
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" false "not authorized for the cluster";
    32 InvalidTimestamp "INVALID_TIMESTAMP" false "the timestamp of a record is not allowed";
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" false "the sasl mechanism is not supported";
    34 IllegalSaslState "ILLEGAL_SASL_STATE" false "the request does not fit the state of sasl";
    35 UnsupportedVersion "UNSUPPORTED_VERSION" false "the version of the request is not supported";
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" false "the topic exists already";
    37 InvalidPartitions "INVALID_PARTITIONS" false "the number of partitions is not valid";
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" false "the replication factor is not valid";
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" false "the replica assignment is not valid";
    40 InvalidConfig "INVALID_CONFIG" false "the configuration is not valid";
    41 NotController "NOT_CONTROLLER" true "this is not the controller";
    42 InvalidRequest "INVALID_REQUEST" false "the request contradicts itself or the protocol";
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" false "the message format does not support this";
    44 PolicyViolation "POLICY_VIOLATION" false "the request violates a policy";
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" false "a sequence number is missing before this one";
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" false "the sequence number was used before";
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" false "the producer epoch is old";
    48 InvalidTxnState "INVALID_TXN_STATE" false "the transaction's state does not allow this";
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" false "the producer id does not belong to the transactional id";
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" false "the transaction timeout is outside the allowed range";
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" true "another change of this transaction is in progress";
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" false "the transaction coordinator is fenced";
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" false "not authorized to use the transactional id";
    54 SecurityDisabled "SECURITY_DISABLED" false "security features are disabled";
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" false "not attempted, since another part of the request failed";
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" true "a disk error in the store of the broker";
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" false "the log directory does not exist";
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" false "authentication failed";
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" false "the producer id has no state here";
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" false "the partition is being reassigned";
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" false "delegation tokens are disabled";
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" false "the delegation token does not exist";
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" false "the delegation token belongs to another owner";
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" false "delegation tokens need an authenticated channel";
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" false "not authorized for the delegation token";
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" false "the delegation token expired";
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" false "the principal type is not supported";
    68 NonEmptyGroup "NON_EMPTY_GROUP" false "the group has members";
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" false "the group does not exist";
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" true "the fetch session does not exist";
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" true "the fetch session epoch is not the expected one";
    72 ListenerNotFound "LISTENER_NOT_FOUND" true "the leader has no matching listener";
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" false "the deletion of topics is disabled";
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" true "the leader epoch is older than ours";
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" true "the leader epoch is newer than ours";
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" false "the compression type is not supported by this version";
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" false "the broker epoch is not the newest";
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" true "the leader does not know the newest offset yet";
    79 MemberIdRequired "MEMBER_ID_REQUIRED" false "join again with the member id of this answer";
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" true "the preferred leader is not available";
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" false "the group is full";
    82 FencedInstanceId "FENCED_INSTANCE_ID" false "another member took over the instance id";
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" true "no eligible leader is available";
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" true "the partition needs no election";
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" false "no reassignment is in progress";
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" false "the group is subscribed to the topic";
    87 InvalidRecord "INVALID_RECORD" false "a record fails validation";
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" true "offsets wait for an open transaction";
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" true "a quota is exceeded";
    90 ProducerFenced "PRODUCER_FENCED" false "a newer producer uses the transactional id";
    91 ResourceNotFound "RESOURCE_NOT_FOUND" false "the resource does not exist";
    92 DuplicateResource "DUPLICATE_RESOURCE" false "the resource is named twice";
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" false "the credential is not acceptable";
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" false "the voters differ from the expected ones";
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" false "the feature update is not valid";
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" false "the features could not be updated";
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" false "the forwarded principal is malformed";
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" false "the snapshot does not exist";
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" false "the position is beyond the end";
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" true "the topic id does not exist here";
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" false "the broker id is in use";
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" false "the broker id is not registered";
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" true "the topic id does not fit the topic";
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" false "the cluster id is not ours";
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" false "the transactional id does not exist";
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" true "the fetch session mixes topic ids and names";
    107 IneligibleReplica "INELIGIBLE_REPLICA" false "the replica is not eligible";
    108 NewLeaderElected "NEW_LEADER_ELECTED" false "a new leader was elected";
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" false "the offset is in tiered storage";
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" false "the member epoch is fenced, rejoin";
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" false "the instance id is still in use";
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" false "the assignor is not supported";
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" false "the member epoch is old";
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" false "the request came to the wrong kind of endpoint";
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" false "the kind of endpoint is not supported";
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" false "the controller id is not known";
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" false "the telemetry subscription is not known";
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" false "the telemetry is too large";
    119 InvalidRegistration "INVALID_REGISTRATION" false "the registration is not valid";
    120 TransactionAbortable "TRANSACTION_ABORTABLE" false "the transaction must be aborted";
    121 InvalidRecordState "INVALID_RECORD_STATE" false "the record's state does not allow the acknowledgement";
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" true "the share session does not exist";
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" true "the share session epoch is not the expected one";
    124 FencedStateEpoch "FENCED_STATE_EPOCH" false "the state epoch is old";
    125 InvalidVoterKey "INVALID_VOTER_KEY" false "the voter's key is not valid";
    126 DuplicateVoter "DUPLICATE_VOTER" false "the voter is one already";
    127 VoterNotFound "VOTER_NOT_FOUND" false "the voter does not exist";
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" false "the regular expression is not valid";
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" false "the client must bootstrap again";
    130 StreamsInvalidTopology "STREAMS_INVALID_TOPOLOGY" false "the topology is not valid";
    131 StreamsInvalidTopologyEpoch "STREAMS_INVALID_TOPOLOGY_EPOCH" false "the topology epoch is not valid";
    132 StreamsTopologyFenced "STREAMS_TOPOLOGY_FENCED" false "the topology epoch is old";
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED" true "too many share sessions";
}

#[cfg(test)]
mod tests;
