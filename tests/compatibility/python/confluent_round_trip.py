"""confluent-kafka against a broker: BOOTSTRAP TOPIC. Prints OK."""

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

RECORDS = 3000
PARTITIONS = 3


def value(n):
    return b"value %d " % n + b"x" * (n % 300)


def produce(bootstrap, topic, settings):
    acked = {}

    def delivered(error, message):
        assert error is None, error
        acked.setdefault(message.partition(), []).append((message.offset(), message.value()))

    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    for n in range(RECORDS):
        while True:
            try:
                producer.produce(topic, value(n), key=str(n), headers={"n": str(n)}, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    assert sum(map(len, acked.values())) == RECORDS
    return acked


def consume(bootstrap, topic, acked):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in acked])
    read = {p: [] for p in acked}
    while sum(map(len, read.values())) < RECORDS:
        message = consumer.poll(60)
        assert message is not None, f"{sum(map(len, read.values()))} of {RECORDS} read"
        assert message.error() is None, message.error()
        assert message.headers() == [("n", message.key())], message.headers()
        read[message.partition()].append((message.offset(), message.value()))
    for p, records in acked.items():
        assert read[p] == sorted(records), f"partition {p}"
        assert consumer.get_watermark_offsets(TopicPartition(topic, p), 30) == (0, len(records))
    consumer.close()


def main(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # The first topic creates itself, the others are made.
    cases = [("auto", {}), ("defaults", {}), ("idempotent", {"enable.idempotence": True})]
    cases += [(codec, {"compression.type": codec}) for codec in ("gzip", "snappy", "lz4", "zstd")]
    for name, settings in cases:
        name = f"{topic}-{name}"
        if not name.endswith("auto"):
            for made in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
                made.result(60)
        consume(bootstrap, name, produce(bootstrap, name, settings))
    for gone in admin.delete_topics([f"{topic}-defaults"]).values():
        gone.result(60)
    assert f"{topic}-defaults" not in admin.list_topics(timeout=30).topics
    print("OK")


main(*sys.argv[1:])
