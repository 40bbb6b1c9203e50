//! Strangers at the door: a wrong secret, messages that make no sense, bytes that are no messages.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use floe_protocol::types::TopicId;
use futures::stream;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use super::channel::{Calls, channel};
use super::network::{Dial, Link};
use super::proto::metadata_client::MetadataClient;
use super::{Connection, Knock, Secret, proto, watch};
use crate::service::Service;
use crate::testing::{World, new_topic, owner, topic_id};

/// One that knows the secret, and nothing else.
type Stranger = MetadataClient<Calls>;

/// A process that owns the sequencer, and topic 1.
async fn owner_of_a_topic(world: &World) -> Service {
    let service = world.start(1).await.unwrap();
    let client = service.client();
    client.create_topic(new_topic(1, 1)).await.unwrap();
    service
}

async fn stranger(world: &World, secret: Secret) -> Stranger {
    let dial = world.network.dialer("stranger");
    let link = dial.dial(&owner(1).address).await.unwrap();
    let channel = channel(link).await.unwrap();
    MetadataClient::new(secret.signing(channel))
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_opens_nothing() {
    let world = World::calm();
    let service = owner_of_a_topic(&world).await;
    let wrong = Secret([0xee; 16]);
    let mut calls = stranger(&world, wrong).await;
    let refused = [
        calls.hello(proto::HelloRequest {}).await.err(),
        calls.allocate_producer_ids(proto::Empty {}).await.err(),
        calls.watch(watch::requests(None, None)).await.err(),
        calls.commit(stream::empty()).await.err(),
        calls
            .leave(proto::LeaveRequest {
                incarnation: 1,
                has_ended: false,
            })
            .await
            .err(),
    ];
    for refused in refused {
        assert_eq!(
            refused.map(|status| status.code()),
            Some(Code::Unauthenticated)
        );
    }
    let dial = world.network.dialer("stranger");
    let (address, theirs) = (owner(1).address, owner(1).nonce);
    let knock = Connection::knock(&dial, &address, theirs, [9; 16], wrong).await;
    assert!(matches!(knock, Knock::Silent), "{knock:?}");
    let secret = service.cluster().secret;
    let knock = Connection::knock(&dial, &address, theirs, [9; 16], secret).await;
    assert!(matches!(knock, Knock::Owner(_)), "{knock:?}");
    let knock = Connection::knock(&dial, &address, [8; 16], [9; 16], secret).await;
    assert!(matches!(knock, Knock::Refused), "{knock:?}");
    let knock = Connection::knock(&dial, "nowhere:1", theirs, [9; 16], secret).await;
    assert!(matches!(knock, Knock::Refused), "{knock:?}");
}

/// Whether a call was refused as malformed.
fn is_malformed<T>(answer: Result<T, Status>) -> bool {
    answer.is_err_and(|status| status.code() == Code::InvalidArgument)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_makes_no_sense_is_refused() {
    let world = World::calm();
    let service = owner_of_a_topic(&world).await;
    let mut calls = stranger(&world, service.cluster().secret).await;
    let short = || Bytes::from_static(b"short");
    let id = || Bytes::copy_from_slice(TopicId::as_bytes(&topic_id(1)));
    let strange = || proto::Partition {
        topic: short(),
        index: -1,
    };
    let new_topic = proto::NewTopic {
        id: short(),
        ..proto::NewTopic::default()
    };
    assert!(is_malformed(calls.create_topic(new_topic).await));
    let far = proto::NewTopic {
        id: id(),
        replication_factor: i32::MAX,
        ..proto::NewTopic::default()
    };
    assert!(is_malformed(calls.create_topic(far).await));
    let delete = proto::DeleteTopicRequest { topic: short() };
    assert!(is_malformed(calls.delete_topic(delete).await));
    let nobody = proto::RegisterRequest { process: None };
    assert!(is_malformed(calls.register(nobody).await));
    let bounds = proto::BoundsRequest {
        partitions: vec![strange()],
    };
    assert!(is_malformed(calls.bounds(bounds).await));
    for (partition, from) in [
        (None, 0),
        (Some(strange()), 0),
        (Some(known(id())), u64::MAX),
    ] {
        let look_up = proto::LookUpRequest {
            partition,
            from,
            extents_max: 1,
        };
        assert!(is_malformed(calls.look_up(look_up).await));
    }
    let newest = proto::ExtentWithMaxTimestampRequest { partition: None };
    assert!(is_malformed(calls.extent_with_max_timestamp(newest).await));

    // What is well formed and strange is answered by the state.
    let negative = proto::CreatePartitionsRequest {
        topic: id(),
        partition_count: i32::MIN,
    };
    let refused = calls.create_partitions(negative).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let below = proto::BoundsRequest {
        partitions: vec![proto::Partition {
            topic: id(),
            index: i32::MIN,
        }],
    };
    let bounds = calls.bounds(below).await.unwrap().into_inner().bounds;
    assert_eq!(bounds, [proto::MaybeBounds { bounds: None }]);
    assert_eq!(service.client().bounds(Vec::new()).await, Ok(Vec::new()));
}

fn known(topic: Bytes) -> proto::Partition {
    proto::Partition { topic, index: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_makes_no_sense_ends_its_stream_alone() {
    let world = World::calm();
    let service = owner_of_a_topic(&world).await;
    let mut calls = stranger(&world, service.cluster().secret).await;
    let mut random = SmallRng::seed_from_u64(1);
    for length in [0, 1, 100, 4000] {
        let index: Vec<u8> = (0..length).map(|_| random.random()).collect();
        let request = proto::CommitRequest {
            segment: None,
            size_bytes: u64::MAX,
            index: index.into(),
        };
        let sent = Request::new(stream::iter([request]));
        let mut replies = calls.commit(sent).await.unwrap().into_inner();
        let refused = timeout(Duration::from_secs(60), replies.message());
        assert!(is_malformed(refused.await.unwrap()), "{length} bytes");
    }
    assert_eq!(service.client().bounds(Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_harm_nobody() {
    let world = World::calm();
    let service = owner_of_a_topic(&world).await;
    let dial = world.network.dialer("stranger");
    let mut random = SmallRng::seed_from_u64(2);
    for round in 0..50 {
        let mut link = dial.dial(&owner(1).address).await.unwrap();
        let mut bytes: Vec<u8> = (0..round * 20).map(|_| random.random()).collect();
        if round % 2 == 0 {
            // Past the greeting of HTTP/2.
            bytes.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        }
        // Either side may hang up at any time.
        drop(link.write_all(&bytes).await);
        let mut answer = Vec::new();
        drop(timeout(Duration::from_secs(5), link.read_to_end(&mut answer)).await);
    }
    let mut calls = stranger(&world, service.cluster().secret).await;
    let hello = calls.hello(proto::HelloRequest {}).await.unwrap();
    assert!(hello.into_inner().is_owner);
}

/// A process in its death: it breaks the connections that it has accepted, then nobody listens.
#[derive(Debug, Default)]
struct Dying(AtomicU32);

#[async_trait]
impl Dial for Dying {
    async fn dial(&self, _address: &str) -> io::Result<Link> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Ok(Link::new(tokio::io::duplex(1024).0)),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_at_the_door_is_gone() {
    let dial: Arc<dyn Dial> = Arc::new(Dying::default());
    let knock = Connection::knock(&dial, "here", [1; 16], [2; 16], Secret([3; 16])).await;
    assert!(matches!(knock, Knock::Refused), "{knock:?}");
}
